//! Servers that start again with another incarnation, and what others know of their incarnations.

use model::ids::Incarnation;
use model::rpc;
use model::rpc::messages::{FromConnector, RpcRequest};

use super::super::transit::InTransit;
use super::{ScriptedCluster, id};

impl ScriptedCluster {
    /// A chat server's process ends, and another starts with this incarnation.
    pub(in super::super) fn restart_chat(&mut self, number: usize, incarnation: u64) {
        let run = self.chats[number].run + 1;
        self.chats[number] = self.chat(number, run, Incarnation(incarnation));
    }

    /// The same of a connector; its clients are gone.
    pub(in super::super) fn restart_connector(&mut self, number: usize, incarnation: u64) {
        self.hubs[number] = self.hub(number, Incarnation(incarnation));
        self.clients.retain(|_, client| client.connector != number);
    }

    /// A chat server gets a message of a later run of a connector, which ended long ago.
    pub(in super::super) fn announce_later_run(&mut self, chat: usize, connector: usize, incarnation: u64) {
        let heartbeat = FromConnector {
            v: rpc::VERSION,
            connector: id("connector", connector),
            incarnation: Incarnation(incarnation),
            continues: Vec::new(),
            count: 1,
            known: None,
            request: RpcRequest::Heartbeat,
        };
        let body = rpc::encode(&heartbeat).unwrap();
        self.under_way.push_back(InTransit::ToChat { connector, chat, token: Some(0), body });
        self.settle();
    }

    pub(in super::super) fn incarnation_of_connector(&self, number: usize) -> u64 {
        self.hubs[number].incarnation().0
    }

    pub(in super::super) fn incarnation_of_chat(&self, number: usize) -> u64 {
        self.chats[number].rooms.incarnation().0
    }

    /// The runs that members of the room are of, from the lowest on.
    pub(in super::super) fn runs_of_members(&self) -> Vec<u64> {
        let state = self.state();
        let mut runs: Vec<u64> = state.runs().map(|(_, run)| run.0).collect();
        runs.sort_unstable();
        runs
    }
}

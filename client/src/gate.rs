//! Finding a connector through a gate.

use serde_json::json;

use crate::{Address, ChatClient, ClientError, GateAnswer, Options, routes};

/// Requests the connector of `uid` from the gate at an address as [`Address`] reads it. The
/// connector has the gate's transport, with TLS if the gate requires it.
///
/// # Errors
///
/// If the gate is not there, does not respond, or knows no connector.
pub async fn query_entry(gate: &str, uid: &str, options: &Options) -> Result<Address, ClientError> {
    let address: Address = gate.parse()?;
    let (connection, _events) = ChatClient::connect(gate, options.clone()).await?;
    let response = connection.request(routes::QUERY_ENTRY, &json!({ "uid": uid })).await?;
    connection.close();
    let answer: GateAnswer =
        serde_json::from_value(response).map_err(|error| ClientError::BadResponse(error.to_string()))?;
    Ok(address.connector(answer))
}

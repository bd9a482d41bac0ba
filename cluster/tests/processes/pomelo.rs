//! What Pomelo's own clients, browsers and files bring with them.

use serde_json::json;

use crate::original::Original;
use crate::support::Layout;

/// The schemas are those of Pomelo's chat demo with protobuf, kept in `localStorage` by an earlier visit.
#[tokio::test]
async fn a_browser_with_schemas_of_another_server_reads_our_messages() {
    let deployment = Layout::OneProcess.start("").await;
    let on_chat = json!({"required string msg": {"option": "required", "type": "string", "tag": 1}});
    let protos = json!({"server": {"onChat": on_chat}, "client": {}, "version": "NzA5ZjE4Yw=="});
    let mut ann = Original::start_with_protos("ann", &protos).await;
    let entered = ann.try_enter(deployment.gate(), "lobby").await;
    assert_eq!(entered["code"], 200, "{entered}");
    ann.say("hello", "*").await;
    let push = ann.push().await;
    assert_eq!((push["route"].as_str(), push["body"]["msg"].as_str()), (Some("onChat"), Some("hello")), "{push}");
}

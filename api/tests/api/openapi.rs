//! The description of the API, and the page with the same routes.

use api::command::Kind;
use api::openapi;
use serde_json::Value;
use testkit::workspace;

use crate::fixture::ApiFixture;

/// The file is written by the program: with `WRITE_OPENAPI` in the environment, by this test.
#[test]
fn the_checked_in_description_is_that_of_the_program() {
    let path = workspace().join("docs/reference/openapi.json");
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(&path, openapi::text()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == openapi::text(),
        "docs/reference/openapi.json is another one: WRITE_OPENAPI=1 cargo test -p api openapi writes it"
    );
}

#[tokio::test]
async fn a_server_has_the_description_without_a_key() {
    let api = ApiFixture::start().await;
    let answer = api.request("GET /v1/openapi.json", &[], &Value::Null).await;
    assert_eq!((answer.status, answer.body), (200, serde_json::from_str(openapi::text()).unwrap()));
}

/// Every member that a route takes is in its path, its query or its body.
#[test]
fn each_route_describes_its_members() {
    let document: Value = serde_json::from_str(openapi::text()).unwrap();
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let names = |operation: &Value| -> Vec<String> {
        let of = |p: &Value| format!("{} {}", p["in"].as_str().unwrap(), p["name"].as_str().unwrap());
        operation["parameters"].as_array().map(|list| list.iter().map(of).collect()).unwrap_or_default()
    };
    let publish = operation("/v1/rooms/{rid}/messages", "post");
    assert_eq!(names(&publish), ["path rid", "header Idempotency-Key"]);
    let body = &publish["requestBody"]["content"]["application/json"]["schema"];
    let members: Vec<&str> = body["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((members, &body["required"]), (vec!["content", "data", "from", "uid"], &serde_json::json!(["content"])));
    let history = operation("/v1/rooms/{rid}/messages", "get");
    let expected = ["path rid", "query after", "query before", "query limit", "query whispers"];
    assert_eq!(names(&history), expected);
    assert_eq!(names(&operation("/v1/rooms/{rid}/rules/{target}", "delete")).len(), 5);
    for kind in Kind::ALL {
        let path = format!("/v1{}", kind.path());
        let described = document["paths"][&path].as_object().unwrap();
        assert!(described.values().any(|operation| operation["operationId"] == kind.name()), "{path}");
    }
}

/// The page lists all routes, commands and scopes.
#[test]
fn the_page_has_each_route() {
    let page = std::fs::read_to_string(workspace().join("docs/reference/api.md")).unwrap();
    for kind in Kind::ALL {
        let is_route =
            |line: &&str| ["| GET", "| POST", "| PUT", "| DELETE"].iter().any(|method| line.starts_with(method));
        let row = page.lines().filter(is_route).find(|line| line.contains(&format!("| `{}` |", kind.name())));
        let Some(row) = row else { panic!("docs/reference/api.md has no row of {}", kind.name()) };
        assert!(row.contains(&format!("`{}`", kind.path())), "{row}");
        if let Some(scope) = kind.need().scope {
            assert!(row.contains(&format!("| `{scope}`")), "{row}");
        }
        assert_eq!(row.contains("all rooms"), kind.need().all_rooms, "{row}");
    }
}

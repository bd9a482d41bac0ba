//! The description of the API over HTTP, as OpenAPI, from the declarations of the commands.

use std::sync::LazyLock;

use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::command::{Kind, Need};
use crate::http;
use crate::keys::Scope;
use crate::reply::ErrorReply;

/// The name of the scheme by which keys come.
const KEY: &str = "key";

const JSON: &str = "application/json";

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let text = serde_json::to_value(document()).map(|document| format!("{document:#}\n"));
    // A document of texts, which JSON can hold.
    text.unwrap_or_default()
});

/// The document, as JSON.
pub fn text() -> &'static str {
    &TEXT
}

fn document() -> OpenApi {
    let description = "Back ends of the application speak in rooms, read them and moderate them. \
                       docs/reference/api.md has the rules.";
    let info = InfoBuilder::new().title("Shaddock server API").version("1").description(Some(description)).build();
    let paths = Kind::ALL.iter().fold(PathsBuilder::new(), |paths, kind| {
        paths.path(format!("{}{}", http::PREFIX, kind.path()), PathItem::new(kind.method(), operation(*kind)))
    });
    let schemas = Kind::ALL.iter().flat_map(|kind| kind.reply_schemas());
    let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .schema(ErrorReply::name(), ErrorReply::schema())
        .security_scheme(KEY, scheme)
        .build();
    OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components)).build()
}

fn operation(kind: Kind) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(kind.name()))
        .summary(Some(kind.summary()))
        .description(Some(rights(kind.need())))
        .security(SecurityRequirement::new::<_, [&str; 0], &str>(KEY, []));
    let request = match kind.request_schema() {
        RefOr::T(Schema::Object(object)) => object,
        // A request is an object.
        _ => Object::new(),
    };
    let (path, rest) = split(request, kind.path());
    for (name, schema) in path.properties {
        operation = operation.parameter(parameter(name, schema, ParameterIn::Path, true));
    }
    if kind.is_act() {
        let schema = utoipa::openapi::ObjectBuilder::new().min_length(Some(1)).max_length(Some(64)).build();
        let header = parameter("Idempotency-Key".to_owned(), schema.into(), ParameterIn::Header, false);
        let meaning = "A repeat with the same key gets the first response";
        operation = operation.parameter(ParameterBuilder::from(header).description(Some(meaning)));
    }
    if http::has_body(kind) {
        let required = if rest.required.is_empty() { Required::False } else { Required::True };
        let content = Content::new(Some(Schema::Object(rest)));
        operation = operation
            .request_body(Some(RequestBodyBuilder::new().content(JSON, content).required(Some(required)).build()));
    } else {
        for (name, schema) in rest.properties {
            let is_required = rest.required.contains(&name);
            operation = operation.parameter(parameter(name, schema, ParameterIn::Query, is_required));
        }
    }
    let reply = kind.reply_schemas().into_iter().next().map(|(name, _)| Ref::from_schema_name(name));
    let done = ResponseBuilder::new().description("Done; with a member `code`").content(JSON, Content::new(reply));
    let error = Content::new(Some(Ref::from_schema_name(ErrorReply::name())));
    let error =
        ResponseBuilder::new().description("Refused, or its outcome is unknown (503, 507)").content(JSON, error);
    operation.response("200", done.build()).response("default", error.build())
}

/// Divides the members of a request into those of the path and the others.
fn split(request: Object, path: &str) -> (Object, Object) {
    let (mut of_path, mut rest) = (Object::new(), request.clone());
    rest.properties.clear();
    for (name, schema) in request.properties {
        let place = if path.contains(&format!("{{{name}}}")) { &mut of_path } else { &mut rest };
        place.properties.insert(name, schema);
    }
    rest.required.retain(|name| rest.properties.contains_key(name));
    rest.description = None;
    (of_path, rest)
}

fn parameter(
    name: String,
    schema: RefOr<Schema>,
    place: ParameterIn,
    is_required: bool,
) -> utoipa::openapi::path::Parameter {
    let description = match &schema {
        RefOr::T(Schema::Object(object)) => object.description.clone(),
        _ => None,
    };
    let required = if is_required { Required::True } else { Required::False };
    let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
    parameter.description(description).schema(Some(schema)).build()
}

fn rights(Need { scope, all_rooms }: Need) -> String {
    let rooms = if all_rooms { ", and a key for all rooms" } else { "" };
    match scope {
        Some(scope) => format!("Needs the scope `{}`{rooms}.", Scope::name(scope)),
        None => "Each command needs the rights that it needs alone.".to_owned(),
    }
}

//! The OpenAPI document: cancel is described as in the public API, and every route in it exists.

use serde_json::{Value, json};

use crate::{Service, alice};

#[tokio::test]
async fn cancel_is_the_public_apis() {
    let service = Service::new();
    let server = service.server();
    let docs = alice(&server).call("GET", "/docs/openapi.json").await.unwrap().json();
    let text = |description| {
        json!({
            "description": description,
            "content": { "text/plain": { "schema": { "type": "string" } } },
        })
    };
    assert_eq!(
        docs["paths"]["/tasks/{task_id}/cancel"]["get"],
        json!({
            "tags": ["Tasks"],
            "summary": "Cancel Task",
            "description": "Cancel a task that hasn't started processing yet:\n\
                - For new tasks: Status will be updated to `Cancelled`\n\
                - For updating tasks: Task will revert to the previous state\n\n\
                Requirements:\n\
                - Task must have status `Starting`",
            "operationId": "cancel_task_route",
            "parameters": [{
                "name": "task_id",
                "in": "path",
                "description": "Id of the task to cancel",
                "required": true,
                "schema": { "type": ["string", "null"] },
            }],
            "responses": {
                "200": { "description": "Task cancelled successfully" },
                "400": text("Task cannot be cancelled in its current state"),
                "401": text("Unauthorized"),
                "404": text("Task not found"),
                "500": text("Server error"),
            },
            "security": [{ "api_key": [] }],
        })
    );
    assert_eq!(
        docs["components"]["securitySchemes"]["api_key"],
        json!({
            "type": "apiKey", "in": "header", "name": "Authorization",
        })
    );
}

#[tokio::test]
async fn every_documented_route_is_there() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let docs = client.call("GET", "/docs/openapi.json").await.unwrap().json();
    let mut routes = 0;
    for (path, methods) in docs["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            let path = path.replace("{task_id}", "00000000-0000-4000-8000-000000000000");
            let answer = client.call(&method.to_uppercase(), &path).await.unwrap();
            assert!(!answer.text.starts_with("No such"), "{method} {path}: {answer:?}");
            assert_ne!(route["responses"][answer.code.to_string()], Value::Null, "{answer:?}");
            routes += 1;
        }
    }
    assert_eq!(routes, 9);
}

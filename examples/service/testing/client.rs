use reqwest::Method;
use reqwest::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use serde_json::{Value, json};

/// A user of the service.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
    if_match: Option<String>,
    name: Option<String>,
}

/// An answer of the service.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub content_type: String,
    pub allow: String,
    pub revision: Option<u64>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn id(&self) -> String {
        self.json()["task_id"].as_str().unwrap().to_owned()
    }

    pub fn status(&self) -> String {
        self.json()["status"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn new(url: &str, key: &str) -> Self {
        let (url, key) = (url.to_owned(), key.to_owned());
        Self { http: reqwest::Client::new(), url, key, if_match: None, name: None }
    }

    /// The same user, sending `If-Match`.
    pub fn if_match(&self, tag: &str) -> Self {
        Self { if_match: Some(tag.to_owned()), ..self.clone() }
    }

    /// The same user, sending `Idempotency-Key`.
    pub fn named(&self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self.clone() }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.header(AUTHORIZATION, &self.key).body(body);
        let request = match &self.if_match {
            Some(tag) => request.header(IF_MATCH, tag),
            None => request,
        };
        let request = match &self.name {
            Some(name) => request.header("Idempotency-Key", name),
            None => request,
        };
        let response = request.send().await?;
        let header = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let revision = header(ETAG).and_then(|tag| tag.trim_matches('"').parse().ok());
        Ok(Answer {
            code: response.status().as_u16(),
            content_type: header(CONTENT_TYPE).unwrap_or_default(),
            allow: header(ALLOW).unwrap_or_default(),
            revision,
            text: response.text().await?,
        })
    }

    pub async fn call(&self, method: &str, path: &str) -> reqwest::Result<Answer> {
        self.send(method, path, "").await
    }

    pub async fn create(&self, text: &str, target_length: u32) -> reqwest::Result<Answer> {
        let body = json!({
            "file": format!("data:,{text}"),
            "chunk_processing": { "target_length": target_length },
        });
        self.send("POST", "/tasks/parse", body.to_string()).await
    }

    pub async fn update(&self, id: &str, target_length: u32) -> reqwest::Result<Answer> {
        let body = json!({ "chunk_processing": { "target_length": target_length } });
        self.send("PATCH", &format!("/tasks/{id}/parse"), body.to_string()).await
    }

    pub async fn get(&self, id: &str) -> reqwest::Result<Answer> {
        self.call("GET", &format!("/tasks/{id}")).await
    }

    pub async fn cancel(&self, id: &str) -> reqwest::Result<Answer> {
        self.call("GET", &format!("/tasks/{id}/cancel")).await
    }

    pub async fn delete(&self, id: &str) -> reqwest::Result<Answer> {
        self.call("DELETE", &format!("/tasks/{id}")).await
    }
}

//! Clients of the service, and what they were told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use task_lifecycle::{Operation, Revision, Status};

use crate::audit::{Asked, Told};
use crate::storm::{Ask, Fault, HUNG_UP, Storm, nap, now};

/// How many tasks a user has at a time: few, so that its clients meet.
const TASKS: usize = 10;

/// The tasks of one user, and the addresses of all servers.
pub struct User {
    pub name: String,
    pub urls: Vec<String>,
    pub tasks: RefCell<Vec<String>>,
}

#[derive(Clone)]
pub struct Client {
    pub storm: Rc<Storm>,
    pub user: Rc<User>,
    pub http: reqwest::Client,
    pub name: String,
}

impl Client {
    /// Asks for one thing after the other.
    pub async fn play(self) {
        while !self.storm.is_over() {
            nap(0..30).await;
            let task = self.user.tasks.borrow().choose(&mut rng()).cloned();
            let Some(task) = task.filter(|_| self.user.tasks.borrow().len() >= TASKS) else {
                self.ask("", Asked::Create, None).await;
                continue;
            };
            let Some((revision, status)) = self.ask(&task, Asked::Show, None).await else {
                continue;
            };
            let named = random_bool(0.2).then_some(revision);
            let asked = match (status, random_range(0..10)) {
                (Status::Processing, 0..2) | (Status::Starting, 0) => Asked::Stop,
                (Status::Processing | Status::Starting, _) => Asked::Step(Operation::Cancel),
                (Status::Succeeded | Status::Failed, 1..) => Asked::Step(Operation::Update),
                (Status::Succeeded | Status::Failed | Status::Cancelled, _) => {
                    Asked::Step(Operation::Delete)
                }
            };
            if random_bool(0.2) {
                let other = Asked::Step(Operation::Cancel);
                tokio::join!(self.ask(&task, asked, named), self.ask(&task, other, None));
            } else {
                self.ask(&task, asked, named).await;
            }
            self.ask(&task, Asked::Show, None).await;
        }
    }

    /// Asks, and returns what is known of the task then.
    pub async fn ask(
        &self,
        task: &str,
        asked: Asked,
        named: Option<Revision>,
    ) -> Option<(Revision, Status)> {
        let request = format!("r{}", self.storm.mark());
        let (sent, mut task) = (now(), task.to_owned());
        let is_killed = asked != Asked::Show && random_bool(0.04);
        let patience = if is_killed { random_range(1..40) } else { 4000 };
        let base = self.user.urls.choose(&mut rng()).expect("a server");
        let sending = self.request(&task, asked, &request, named, base);
        let sending = sending.timeout(Duration::from_millis(patience)).send();
        let unanswered = &self.storm.unanswered;
        unanswered.set(unanswered.get() + usize::from(asked != Asked::Show));
        let told = match sending.await {
            Ok(answer) => read(&mut task, asked, answer, base).await,
            Err(fault) => Err(fault.into()),
        };
        unanswered.set(unanswered.get() - usize::from(asked != Asked::Show));
        self.storm.count(HUNG_UP, usize::from(is_killed && told.is_err()));
        let told = match (told, self.storm.fault) {
            (Ok(told), _) => told,
            (_, Some(Fault::TimeoutCountedAsNo)) if asked != Asked::Show => Told::NotDone,
            (_, Some(Fault::TimeoutCountedAsYes)) if asked != Asked::Show => {
                Told::Made(named.or(Some(Revision::new(1))))
            }
            _ => Told::Unknown,
        };
        if asked == Asked::Create && matches!(told, Told::Made(_)) && !task.is_empty() {
            self.user.tasks.borrow_mut().push(task.clone());
        }
        if matches!(told, Told::Absent | Told::Made(None)) {
            self.user.tasks.borrow_mut().retain(|it| *it != task);
        }
        let seen = match &told {
            Told::Shown(revision, status, _) => Some((*revision, *status)),
            _ => None,
        };
        self.storm.told(&task, &self.name, sent, Ask { request, asked, named }, told);
        seen
    }

    fn request(
        &self,
        task: &str,
        asked: Asked,
        request: &str,
        named: Option<Revision>,
        base: &str,
    ) -> RequestBuilder {
        let (method, end) = match asked {
            Asked::Create => (Method::POST, "parse".to_owned()),
            Asked::Step(Operation::Update) => (Method::PATCH, format!("{task}/parse")),
            Asked::Step(Operation::Cancel) => (Method::GET, format!("{task}/cancel")),
            Asked::Step(Operation::Delete) => (Method::DELETE, task.to_owned()),
            Asked::Stop => (Method::POST, format!("{task}/stop")),
            Asked::Show | Asked::Edit | Asked::Step(_) => (Method::GET, task.to_owned()),
        };
        let mut sending = self.http.request(method, format!("{base}/tasks/{end}"));
        sending = sending.header("authorization", format!("key-{}", self.user.name));
        sending = sending.header("x-request-id", request);
        if let Some(named) = named {
            sending = sending.header("if-match", format!("\"{named}\""));
        }
        // Now and then there is no such tokenizer, and the run fails.
        let tokenizer =
            if random_bool(0.15) { json!({ "String": "none" }) } else { json!({ "Enum": "Word" }) };
        let chunking = json!({ "target_length": random_range(1..9), "tokenizer": tokenizer });
        let file = match random_range(0..60) {
            0 => "data:,kills",       // its worker's process
            1..9 => "data:,vanishes", // from its worker's mind
            _ => "data:,one%20two%20three%20four%20five%20six",
        };
        match asked {
            Asked::Create => sending.body(
                json!({ "file": file, "mark": request, "chunk_processing": chunking }).to_string(),
            ),
            Asked::Step(Operation::Update) => {
                sending.body(json!({ "mark": request, "chunk_processing": chunking }).to_string())
            }
            _ => sending,
        }
        .header("content-type", "application/json")
    }
}

/// What an answer tells. An error tells nothing.
async fn read(
    task: &mut String,
    asked: Asked,
    answer: Response,
    base: &str,
) -> anyhow::Result<Told> {
    let code = answer.status().as_u16();
    let tag = answer.headers().get("etag").and_then(|it| it.to_str().ok());
    let revision = tag.and_then(|tag| tag.trim_matches('"').parse::<Revision>().ok());
    let text = answer.text().await?;
    Ok(match (code, asked) {
        (200 | 202, Asked::Show) => {
            let body: Value = serde_json::from_str(&text)?;
            let status = body["status"].as_str().unwrap_or_default().parse()?;
            Told::Shown(revision.context("no tag")?, status, text.replace(base, ""))
        }
        (200 | 202, _) => {
            if asked == Asked::Create {
                let body: Value = serde_json::from_str(&text)?;
                body["task_id"].as_str().context("no id")?.clone_into(task);
            }
            Told::Made(revision)
        }
        (400, _) => {
            let status = text.rsplit(' ').next().unwrap_or_default().parse();
            Told::Refused(status.with_context(|| text.clone())?)
        }
        (404, _) => Told::Absent,
        (409 | 412, _) => Told::Stale,
        (503, _) if text.starts_with("Nothing was done") => Told::NotDone,
        _ => anyhow::bail!("{code}: {text}"),
    })
}

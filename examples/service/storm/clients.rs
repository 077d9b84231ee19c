//! Clients that ask at random, and write down what they asked and what they were told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use serde_json::json;
use tokio::time::sleep;

use task_service::store::{Event, Key, Payload, Result, SqlStore, Store as _};

use crate::testing::client::{Answer, Client};

/// What a client asked for. A number is the `target_length` that it chose.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ask {
    Create(u64),
    Update(u64),
    Cancel,
    Delete,
    Get,
    /// Of another user.
    Foreign,
    List,
}

/// One request, and its answer; none if there was none.
#[derive(Clone, Debug)]
pub struct Record {
    pub user: usize,
    /// Empty for a list, and for a create without an answer.
    pub task: String,
    pub ask: Ask,
    pub sent: Instant,
    pub told: Instant,
    pub told_at: DateTime<Utc>,
    pub answer: Option<Answer>,
    /// Of a create: what was to be cut; none if it was no text.
    pub text: Option<String>,
}

/// Everything that the clients of one storm share.
pub struct Storm {
    /// For each user, a client of each server.
    pub clients: Vec<Vec<Client>>,
    /// For each user, the tasks to ask for.
    pub pools: Vec<Mutex<Vec<String>>>,
    pub records: Mutex<Vec<Record>>,
}

/// Who edits tasks in passing.
pub const EDITOR: &str = "editor";

/// As many tasks a user has at once: few, so that its clients meet.
const POOL: usize = 8;

impl Storm {
    pub fn new(servers: &[String], users: usize) -> Self {
        let clients = |user| servers.iter().map(|url| Client::new(url, &key(user))).collect();
        Self {
            clients: (0..users).map(clients).collect(),
            pools: (0..users).map(|_| Mutex::default()).collect(),
            records: Mutex::default(),
        }
    }

    /// One client, until `end`.
    pub async fn play(self: Arc<Self>, user: usize, end: Instant) {
        while Instant::now() < end {
            sleep(Duration::from_millis(random_range(0..30))).await;
            let Some(task) = self.pick(user) else {
                self.create(user).await;
                continue;
            };
            match random_range(0..100) {
                0..20 => {
                    self.ask(user, &task, Ask::Get).await;
                    self.ask(user, &task, update()).await;
                }
                20..40 => {
                    self.ask(user, &task, Ask::Cancel).await;
                    self.ask(user, &task, Ask::Get).await;
                }
                40..45 => {
                    self.ask(user, &task, Ask::Delete).await;
                }
                // Two at once.
                45..60 => {
                    let asks = [update(), Ask::Cancel, Ask::Delete];
                    let [one, other] = [0, 0].map(|_| asks[random_range(0..3)]);
                    tokio::join!(self.ask(user, &task, one), self.ask(user, &task, other));
                }
                60..63 => self.ask(user, &task, Ask::Foreign).await,
                63..65 => self.ask(user, "", Ask::List).await,
                _ => self.ask(user, &task, Ask::Get).await,
            }
        }
    }

    /// Someone who is neither a client nor a worker, and puts a label on tasks whatever they do.
    pub async fn edit(self: Arc<Self>, store: Arc<SqlStore>, end: Instant) -> Result<usize> {
        let mut edits = 0;
        while Instant::now() < end {
            sleep(Duration::from_millis(random_range(0..10))).await;
            let user = random_range(0..self.clients.len());
            let Some(id) = self.pick(user).and_then(|task| task.parse().ok()) else { continue };
            let key = Key { user: name(user), id };
            let Some((mut row, mut document)) = store.read(&key).await? else { continue };
            let loaded = row.task.revision();
            document.message = format!("Label {edits}");
            row.task.edit(|payload| *payload = Payload::new(document));
            let event = Event::new(EDITOR, "edit", loaded, Some(&row.task));
            edits += usize::from(store.commit(&row, loaded, &event).await?);
        }
        Ok(edits)
    }

    fn pick(&self, user: usize) -> Option<String> {
        let pool = self.pools[user].lock().unwrap();
        let full = pool.len() >= POOL || random_bool(0.9);
        if full { pool.choose(&mut rng()).cloned() } else { None }
    }

    async fn create(&self, user: usize) {
        let words = random_range(1..60);
        let words: Vec<_> = (0..words).map(|at| format!("w{at}")).collect();
        let text = random_bool(0.9).then(|| words.join(" "));
        let target = random_range(1..=40);
        let form = json!({
            "file": text.as_ref().map_or("//79".to_owned(), |text| format!("data:,{text}")),
            "chunk_processing": { "target_length": target },
        });
        let sent = Instant::now();
        let answer = self.client(user).send("POST", "/tasks/parse", form.to_string()).await;
        let answer = self.record(user, "", Ask::Create(target), text, sent, answer.ok());
        if let Some(answer) = answer.filter(|answer| answer.code == 200) {
            self.pools[user].lock().unwrap().push(answer.id());
        }
    }

    /// Asks, and writes it down.
    pub async fn ask(&self, user: usize, task: &str, ask: Ask) {
        let client = self.client(user);
        let other = self.client((user + 1) % self.clients.len());
        let sent = Instant::now();
        let answer = match ask {
            Ask::Update(target) => {
                // One update in eight names a tokenizer that is not there, and fails.
                let form = match target % 8 {
                    0 => json!({ "target_length": target, "tokenizer": { "String": "none" } }),
                    _ => json!({ "target_length": target }),
                };
                let form = json!({ "chunk_processing": form }).to_string();
                client.send("PATCH", &format!("/tasks/{task}/parse"), form).await
            }
            Ask::Cancel => client.cancel(task).await,
            Ask::Delete => client.delete(task).await,
            Ask::Foreign if random_bool(0.5) => other.cancel(task).await,
            Ask::Foreign => other.get(task).await,
            Ask::List => client.call("GET", "/tasks?limit=100").await,
            Ask::Get | Ask::Create(_) => client.get(task).await,
        };
        let answer = self.record(user, task, ask, None, sent, answer.ok());
        if ask == Ask::Delete && answer.is_some_and(|answer| answer.code == 200) {
            self.pools[user].lock().unwrap().retain(|other| other != task);
        }
    }

    fn record(
        &self,
        user: usize,
        task: &str,
        ask: Ask,
        text: Option<String>,
        sent: Instant,
        answer: Option<Answer>,
    ) -> Option<Answer> {
        let task = match (&answer, ask) {
            (Some(answer), Ask::Create(_)) if answer.code == 200 => answer.id(),
            _ => task.to_owned(),
        };
        let (told, told_at) = (Instant::now(), Utc::now());
        let record = Record { user, task, ask, sent, told, told_at, answer: answer.clone(), text };
        self.records.lock().unwrap().push(record);
        answer
    }

    fn client(&self, user: usize) -> &Client {
        self.clients[user].choose(&mut rng()).expect("a server")
    }
}

fn update() -> Ask {
    Ask::Update(random_range(1..=40))
}

pub fn key(user: usize) -> String {
    format!("key-{user}")
}

pub fn name(user: usize) -> String {
    format!("user-{user}")
}

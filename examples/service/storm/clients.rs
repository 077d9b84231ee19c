//! Clients that send random requests, and record them with their answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use serde_json::json;
use tokio::time::sleep;

use task_service::store::{Event, Result, SqlStore};

use crate::fault::LOG;
use crate::testing::client::{Answer, Client};

/// A request. The number is the `target_length` that the client chose.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ask {
    Create(u64),
    Update(u64),
    Cancel,
    Delete,
    Get,
    File,
    /// For another user's task.
    Foreign,
    /// Of all pages, as one answer.
    List,
}

/// A request, and its answer, if there was one.
#[derive(Clone, Debug)]
pub struct Record {
    pub user: usize,
    /// Empty for a list, and for a create without an answer.
    pub task: String,
    pub ask: Ask,
    pub sent: DateTime<Utc>,
    pub told: DateTime<Utc>,
    pub answer: Option<Answer>,
    /// The text of a new document; `None` if it is not a text.
    pub text: Option<String>,
}

impl Record {
    /// Whether the client cannot know if the change was made.
    pub fn is_unknown(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| answer.code == 503)
    }
}

/// How a document begins that kills its worker.
pub const KILLS: &str = "kills";

/// How a document begins that stalls its worker for longer than the lease.
pub const HANGS: &str = "hangs";

/// What all clients of a storm share.
pub struct Storm {
    /// For each user, a client of each server.
    pub clients: Vec<Vec<Client>>,
    /// For each user, the tasks to send requests about.
    pub pools: Vec<Mutex<Vec<String>>>,
    pub records: Mutex<Vec<Record>>,
    creates: AtomicUsize,
}

/// Who edits tasks by hand.
pub const EDITOR: &str = "editor";

/// The `expires_in` that goes with a `target_length`.
fn expires_in(target: u64) -> Option<u64> {
    (target % 2 == 1).then_some(1 + target % 3)
}

/// How many tasks a user has at a time: few, so that its clients compete.
const POOL: usize = 8;

impl Storm {
    pub fn new(servers: &[String], users: usize) -> Self {
        let clients = |user| servers.iter().map(|url| Client::new(url, &key(user))).collect();
        Self {
            clients: (0..users).map(clients).collect(),
            pools: (0..users).map(|_| Mutex::default()).collect(),
            records: Mutex::default(),
            creates: AtomicUsize::new(0),
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
                63..64 => self.ask(user, "", Ask::List).await,
                64..80 => {
                    self.ask(user, &task, Ask::Get).await;
                    self.ask(user, &task, Ask::File).await;
                }
                _ => self.ask(user, &task, Ask::Get).await,
            }
        }
    }

    /// An operator who edits tasks by hand, whatever their status and revision.
    pub async fn edit(self: Arc<Self>, store: Arc<SqlStore>, end: Instant) -> usize {
        let mut edits = 0;
        while Instant::now() < end {
            sleep(Duration::from_millis(random_range(0..10))).await;
            let user = random_range(0..self.clients.len());
            let Some(task) = self.pick(user) else { continue };
            // The database may be down.
            edits += usize::from(mark(&store, &task, &name(user)).await.unwrap_or(false));
        }
        edits
    }

    fn pick(&self, user: usize) -> Option<String> {
        let pool = self.pools[user].lock().unwrap();
        let full = pool.len() >= POOL || random_bool(0.9);
        if full { pool.choose(&mut rng()).cloned() } else { None }
    }

    async fn create(&self, user: usize) {
        let words = random_range(1..60);
        let mut words: Vec<_> = (0..words).map(|at| format!("w{at}")).collect();
        let poison = match self.creates.fetch_add(1, Ordering::Relaxed) % 60 {
            0 => Some(KILLS),
            30 => Some(HANGS),
            _ => None,
        };
        if let Some(poison) = poison {
            words[0] = poison.to_owned();
        }
        let text = (poison.is_some() || random_bool(0.9)).then(|| words.join(" "));
        let target = random_range(1..=40);
        let form = json!({
            "file": text.as_ref().map_or("//79".to_owned(), |text| format!("data:,{text}")),
            "chunk_processing": { "target_length": target },
            "expires_in": expires_in(target),
        });
        let sent = Utc::now();
        let answer = self.client(user).send("POST", "/tasks/parse", form.to_string()).await;
        let answer = self.record(user, "", Ask::Create(target), text, sent, answer.ok());
        // Most poison is left alone until it is given up.
        let is_shared = poison.is_none() || random_bool(0.3);
        if let Some(answer) = answer.filter(|answer| answer.code == 200 && is_shared) {
            self.pools[user].lock().unwrap().push(answer.id());
        }
    }

    /// Sends a request and records it.
    pub async fn ask(&self, user: usize, task: &str, ask: Ask) {
        let client = self.client(user);
        let other = self.client((user + 1) % self.clients.len());
        let sent = Utc::now();
        let answer = match ask {
            Ask::Update(target) => {
                // One update in four names a tokenizer that cannot be loaded, and fails.
                let form = match target % 4 {
                    0 => json!({ "target_length": target, "tokenizer": { "String": "none" } }),
                    _ => json!({ "target_length": target }),
                };
                let form = json!({ "chunk_processing": form, "expires_in": expires_in(target) });
                let form = form.to_string();
                client.send("PATCH", &format!("/tasks/{task}/parse"), form).await
            }
            Ask::Cancel => client.cancel(task).await,
            Ask::Delete => client.delete(task).await,
            Ask::Foreign if random_bool(0.5) => other.cancel(task).await,
            Ask::Foreign => other.get(task).await,
            Ask::List => list(client).await,
            Ask::File => client.call("GET", &format!("/tasks/{task}/file")).await,
            Ask::Get | Ask::Create(_) => client.get(task).await,
        };
        let answer = self.record(user, task, ask, None, sent, answer.ok());
        let Some(Answer { code, .. }) = answer else { return };
        // Expired tasks, and those deleted without an answer, are sometimes requested again.
        let is_gone = ask == Ask::Delete && code == 200
            || ask != Ask::Foreign && code == 404 && random_bool(0.1);
        if is_gone {
            self.pools[user].lock().unwrap().retain(|other| other != task);
        }
    }

    fn record(
        &self,
        user: usize,
        task: &str,
        ask: Ask,
        text: Option<String>,
        sent: DateTime<Utc>,
        answer: Option<Answer>,
    ) -> Option<Answer> {
        let task = match (&answer, ask) {
            (Some(answer), Ask::Create(_)) if answer.code == 200 => answer.id(),
            _ => task.to_owned(),
        };
        let told = Utc::now();
        let record = Record { user, task, ask, sent, told, answer: answer.clone(), text };
        self.records.lock().unwrap().push(record);
        answer
    }

    fn client(&self, user: usize) -> &Client {
        self.clients[user].choose(&mut rng()).expect("a server")
    }
}

/// All pages as one. An answer other than 200 ends it.
async fn list(client: &Client) -> reqwest::Result<Answer> {
    let (mut tasks, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = client.call("GET", &format!("/tasks?limit=4{cursor}")).await?;
        if page.code != 200 {
            return Ok(page);
        }
        let body = page.json();
        tasks.extend(body["tasks"].as_array().into_iter().flatten().cloned());
        let Some(next) = body["next_cursor"].as_str() else {
            page.text = json!({ "tasks": tasks }).to_string();
            return Ok(page);
        };
        cursor = format!("&cursor={}", next.replace('+', "%2B"));
    }
}

/// Edits the message of a task, as an operator would, and logs it.
async fn mark(store: &SqlStore, task: &str, user: &str) -> Result<bool> {
    let mut transaction = store.pool.begin().await?;
    let marked = sqlx::query_as::<_, (String, i64, i64)>(
        r#"UPDATE tasks SET payload = replace(payload, '"message":"', '"message":"*'),
               revision = revision + 1
           WHERE task_id = $1 RETURNING status, revision, run"#,
    );
    let marked = marked.bind(task).fetch_optional(&mut *transaction).await?;
    let Some((status, revision, run)) = marked else { return Ok(false) };
    let revision = revision.cast_unsigned();
    let event = Event {
        status: status.parse().ok(),
        revision: Some(revision),
        run: Some(run.cast_unsigned()),
        ..Event::new(EDITOR, "edit", revision - 1, None)
    };
    let event = serde_json::to_string(&event).map_err(|fault| sqlx::Error::Encode(fault.into()))?;
    sqlx::query(LOG).bind(task).bind(user).bind(event).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
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

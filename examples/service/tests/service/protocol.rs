//! Commits without an answer, and loads that are behind.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sqlx::{Error, Result};
use task_lifecycle::{Draft, Revision, Run, Task};
use task_service::commit::{Refusal, change};
use task_service::database::{Meaning, meaning};
use task_service::document::Document;
use task_service::store::{Beside, Key, Note, Row, SqlStore, Tasks};

use crate::{Service, document, sql_on, worker};

/// What becomes of a commit. Of the last three there is no answer.
#[derive(Clone, Copy)]
enum Fate {
    /// The statement fails, and nothing is done.
    Fails(fn() -> Error),
    Lost,
    AnswerLost,
    /// It arrives when its maker has looked.
    Late,
}

/// A store with trouble on the way to it.
#[derive(Clone)]
struct Troubled(SqlStore, Arc<Mutex<Trouble>>);

#[derive(Default)]
struct Trouble {
    fates: VecDeque<Fate>,
    /// What somebody else does after a commit without an answer.
    meanwhile: VecDeque<String>,
    late: Vec<(Key, Draft<String>, Note)>,
    /// What loads return instead.
    behind: VecDeque<Row>,
    sent: Vec<Draft<String>>,
}

impl Troubled {
    fn new(service: &Service, fates: &[Fate]) -> Self {
        let fates = fates.iter().copied().collect();
        Self(service.store.clone(), Arc::new(Mutex::new(Trouble { fates, ..Trouble::default() })))
    }

    fn meanwhile(self, sql: &str) -> Self {
        self.1.lock().unwrap().meanwhile.push_back(sql.to_owned());
        self
    }

    async fn change(
        &self,
        key: &Key,
        decide: impl Fn(&mut Draft<String>, &Beside, &mut Note) -> Result<(), Refusal>,
    ) -> Result<(Draft<String>, Beside), Refusal> {
        change(self, key, "request", 3, decide).await
    }

    async fn cancel(&self, key: &Key) -> Result<(Draft<String>, Beside), Refusal> {
        self.change(key, |draft, _, _| Ok(draft.cancel().map(drop)?)).await
    }
}

impl Tasks for Troubled {
    fn store(&self) -> &SqlStore {
        &self.0
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let behind = self.1.lock().unwrap().behind.pop_front();
        if behind.is_some() { Ok(behind) } else { self.0.load(key).await }
    }

    async fn commit(&self, key: &Key, draft: &Draft<String>, note: &Note) -> Result<bool> {
        let fate = {
            let mut trouble = self.1.lock().unwrap();
            trouble.sent.push(draft.clone());
            trouble.fates.pop_front()
        };
        match fate {
            None => return self.0.commit(key, draft, note).await,
            Some(Fate::Fails(fault)) => return Err(fault()),
            Some(Fate::Lost) => {}
            Some(Fate::AnswerLost) => drop(self.0.commit(key, draft, note).await?),
            Some(Fate::Late) => {
                let late = (key.clone(), draft.clone(), note.clone());
                self.1.lock().unwrap().late.push(late);
            }
        }
        let meanwhile = self.1.lock().unwrap().meanwhile.pop_front();
        if let Some(sql) = meanwhile {
            sql_on(&self.0.writers, &sql).await?;
        }
        Err(no_answer())
    }

    async fn pause(&self, _: u32) {
        let late = std::mem::take(&mut self.1.lock().unwrap().late);
        for (key, draft, note) in late {
            self.0.commit(&key, &draft, &note).await.unwrap();
        }
    }
}

fn no_answer() -> Error {
    Error::Io(std::io::ErrorKind::TimedOut.into())
}

const EDIT: &str = "UPDATE tasks SET revision = revision + 1";

/// A commit that arrives after its maker looked is made once, and its maker is told "yes".
#[tokio::test]
async fn late_commit_decided_again() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        service.update(&key, &json!({ "words": "new" })).await;
        let troubled = Troubled::new(&service, &[Fate::Late]);
        troubled.cancel(&key).await.unwrap();
        assert_eq!(service.status(&key).await, "Succeeded");
        let sent = troubled.1.lock().unwrap().sent.clone();
        assert_eq!(sent[0], sent[1]);

        let troubled = Troubled::new(&service, &[Fate::Late]);
        let update =
            troubled.change(&key, |draft, _, _| Ok(draft.update("{}".to_owned()).map(drop)?));
        update.await.unwrap();
        assert_eq!(service.load(&key).await.0.run(), Run::new(2));
    }
}

/// Without an answer it is looked, and not guessed; what came to nothing is made then.
#[tokio::test]
async fn timeout_counted_as_no() {
    for service in Service::everywhere().await {
        for fates in [&[Fate::Lost][..], &[Fate::AnswerLost], &[Fate::Lost, Fate::AnswerLost]] {
            let key = service.create("one").await;
            Troubled::new(&service, fates).cancel(&key).await.unwrap();
            assert_eq!(service.operations(&key).await.len(), 2);
        }
        // Somebody else was faster, and the late commit can no longer be made.
        let key = service.create("one").await;
        let troubled = Troubled::new(&service, &[Fate::Late]).meanwhile(EDIT);
        troubled.cancel(&key).await.unwrap();
        assert_eq!(service.load(&key).await.0.revision(), Revision::new(2));
        // Out of time.
        let key = service.create("one").await;
        let troubled = Troubled::new(&service, &[Fate::Lost; 9]);
        assert!(matches!(troubled.cancel(&key).await, Err(Refusal::Unknown)));
        // Nothing was done, and this is known at once.
        let busy = Troubled::new(&service, &[Fate::Fails(|| Error::PoolTimedOut)]);
        assert!(matches!(busy.cancel(&key).await, Err(Refusal::Store(Error::PoolTimedOut))));
    }
}

/// After a lost answer, a refusal may be the echo of the client's own change.
#[tokio::test]
async fn echo_taken_for_refusal() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let troubled = Troubled::new(&service, &[Fate::AnswerLost]).meanwhile(EDIT);
        assert!(matches!(troubled.cancel(&key).await, Err(Refusal::Unknown)));
        assert_eq!(service.status(&key).await, "Cancelled");
    }
}

/// A start that was made, without an answer, and edited since: the mark tells its worker.
#[tokio::test]
async fn started_run_was_orphaned() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let message = service.receive().await;
        let troubled = Troubled::new(&service, &[Fate::AnswerLost]).meanwhile(EDIT);
        let (run, _) = worker(troubled, "one").start(&message).await.unwrap().unwrap();
        assert_eq!(run, Run::new(0));
        assert_eq!(service.worker("two").start(&message).await.unwrap(), None);

        // So with the run that it took over.
        service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
        let troubled = Troubled::new(&service, &[Fate::AnswerLost]).meanwhile(EDIT);
        let (run, _) = worker(troubled, "two").start(&message).await.unwrap().unwrap();
        assert_eq!(run, Run::new(1));
        let operations = service.operations(&key).await;
        assert_eq!(operations.iter().filter(|operations| operations.contains("start")).count(), 4);
    }
}

/// What is edited in the name of a run is set, so that it is the same when it is made twice.
#[tokio::test]
async fn edit_made_twice() {
    for service in Service::everywhere().await {
        let (key, run) = service.started(&service.worker("one")).await;
        let label = "UPDATE tasks SET revision = revision + 1,
            payload = replace(payload, '\"file_name\":\"', '\"file_name\":\"labelled ')";
        let troubled = Troubled::new(&service, &[Fate::Lost, Fate::AnswerLost]).meanwhile(label);
        let worker = worker(troubled, "one");
        worker.finish(&key, run, Ok(&[])).await.unwrap();
        let document = document(&service.load(&key).await.0);
        assert_eq!(document.file_name, "labelled document");
        assert_eq!((document.message.as_str(), document.chunks), ("Task succeeded", Some(vec![])));
    }
}

/// Only errors that are known to be lasting fail a task. All others cost time.
#[tokio::test]
async fn migration_failed_the_queue() {
    for service in Service::everywhere().await {
        let faults: [fn() -> Error; 4] =
            [no_answer, || Error::PoolTimedOut, || Error::WorkerCrashed, || Error::RowNotFound];
        let fates: Vec<_> = faults.into_iter().map(Fate::Fails).collect();
        let key = service.create("one").await;
        let message = service.receive().await;
        let worker = worker(Troubled::new(&service, &[fates.clone(), fates].concat()), "one");
        let (run, _) = worker.start(&message).await.unwrap().unwrap();
        worker.finish(&key, run, Ok(&[])).await.unwrap();
        assert_eq!(service.status(&key).await, "Succeeded");
    }
}

/// The errors of the databases themselves.
#[tokio::test]
async fn meanings_of_errors() {
    for service in Service::everywhere().await {
        let meaning_of = async |sql: &str| meaning(&service.sql(sql).await.unwrap_err());
        let missing = "UPDATE nothing SET at = 0";
        assert_eq!(meaning_of(missing).await, Meaning::NotDone);
        let wrong = "INSERT INTO events (at) VALUES (NULL)";
        assert_eq!(meaning_of(wrong).await, Meaning::Lasting);
        if service.is_sqlite() {
            continue;
        }
        for (code, expected) in [
            ("22001", Meaning::Lasting),
            ("22P02", Meaning::Lasting),
            ("23514", Meaning::Lasting),
            ("54000", Meaning::Lasting),
            ("40001", Meaning::LostRace),
            ("40P01", Meaning::LostRace),
            ("0A000", Meaning::NotDone), // cached plan must not change result type
            ("25006", Meaning::NotDone),
            ("26000", Meaning::NotDone),
            ("42501", Meaning::NotDone),
            ("42703", Meaning::NotDone),
            ("42P05", Meaning::NotDone),
            ("53100", Meaning::NotDone),
            ("53300", Meaning::NotDone),
            ("55P03", Meaning::NotDone),
            ("57014", Meaning::NotDone),
            ("08006", Meaning::Unknown),
            ("40003", Meaning::Unknown),
            ("57P01", Meaning::Unknown),
            ("58030", Meaning::Unknown),
            ("XX000", Meaning::Unknown),
        ] {
            let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$");
            assert_eq!(meaning_of(&raise).await, expected, "{code}");
        }
    }
}

/// A message whose run is newer than what was loaded goes back a few times, and then aside.
#[tokio::test]
async fn early_message() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        let behind = service.store.load(&key).await.unwrap().unwrap();
        service.update(&key, &json!({})).await;
        let (_running, mut stop) = tokio::sync::watch::channel(false);
        let due = "SELECT (due_at - now) / 1000000 FROM tasks, clock";
        for delivery in 1..=5 {
            let message = service.receive().await;
            assert_eq!(message.deliveries, delivery);
            let troubled = Troubled::new(&service, &[]);
            troubled.1.lock().unwrap().behind.push_back(behind.clone());
            worker(troubled, "one").deliver(&message, &mut stop).await;
            assert_eq!(service.status(&key).await, "Starting");
            assert_eq!(service.number(due).await.is_none(), delivery == 5);
            service
                .sql("UPDATE tasks SET due_at = (SELECT now FROM clock) WHERE due_at > 0")
                .await
                .unwrap();
        }
        assert!(service.store.receive().await.unwrap().is_none());
    }
}

/// A request to stop stops what it was made for, and nothing else: it survives the death of the
/// worker, and ends with the update; and one that was accepted is not lost.
#[tokio::test]
async fn stop_request_outlived_its_run() {
    for service in Service::everywhere().await {
        let one = service.worker("one");
        // The result has not seen the request, and loses its commit.
        let (key, run) = service.started(&one).await;
        let before = service.load(&key).await.0.previous().unwrap().payload.clone();
        let troubled = Troubled::new(&service, &[]);
        let row = service.store.load(&key).await.unwrap().unwrap();
        assert_eq!(service.stop(&key).await.code, 202);
        troubled.1.lock().unwrap().behind.push_back(row);
        worker(troubled, "one").finish(&key, run, Ok(&[])).await.unwrap();
        assert_eq!(service.operations(&key).await.last().unwrap(), "retry, cancel");
        assert_eq!(service.load(&key).await.0.payload(), &before);
        assert!(!service.store.renew(&key, run).await.unwrap());

        // The next update is not stopped.
        service.update(&key, &json!({})).await;
        let message = service.receive().await;
        let (run, _) = one.start(&message).await.unwrap().unwrap();
        assert!(service.store.renew(&key, run).await.unwrap());

        // It survives a death of the worker and is obeyed by the sweeper, or by the next worker.
        service.stop(&key).await;
        service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
        service.worker("sweeper").sweep().await.unwrap();
        assert_eq!(service.operations(&key).await.last().unwrap(), "retry, cancel");
        service.update(&key, &json!({})).await;
        let (run, _) = one.start(&service.receive().await).await.unwrap().unwrap();
        service.stop(&key).await;
        let retry =
            change(&service.store, &key, "engine", 1, |draft, _, _| Ok(draft.retry().map(drop)?));
        retry.await.unwrap();
        assert_eq!(one.start(&service.receive().await).await.unwrap(), None);
        assert_eq!(service.operations(&key).await.last().unwrap(), "cancel");
        assert!(one.finish(&key, run, Ok(&[])).await.is_err());
        service.stop(&key).await.refuses(400, "task cannot be cancelled: status is Succeeded");
    }
}

/// Without an answer, a request to stop counts exactly if it is found; an edit of somebody else is
/// equal to it, and is none.
#[tokio::test]
async fn stop_request_without_an_answer() {
    for service in Service::everywhere().await {
        let (key, _) = service.started(&service.worker("one")).await;
        let stop = |draft: &mut Draft<String>, _: &Beside, note: &mut Note| {
            note.stop = Some(draft.run());
            draft.edit(|_| ());
            Ok(())
        };
        let troubled = Troubled::new(&service, &[Fate::Lost]).meanwhile(EDIT);
        troubled.change(&key, stop).await.unwrap();
        assert!(service.load(&key).await.1.is_stopped());
        assert_eq!(troubled.1.lock().unwrap().sent.len(), 2);
        let troubled = Troubled::new(&service, &[Fate::AnswerLost]).meanwhile(EDIT);
        troubled.change(&key, stop).await.unwrap();
        assert_eq!(troubled.1.lock().unwrap().sent.len(), 1);
    }
}

/// A worker writes its name and the run, so that no two workers' commits are equal.
#[tokio::test]
async fn marks_differ() {
    let mut document = Document::default();
    let mut texts = Vec::new();
    for (worker, run) in [("one", 0), ("one", 1), ("two", 0)] {
        document.worker = Some((worker.to_owned(), Run::new(run)));
        texts.push(Task::new(document.text().unwrap()));
    }
    texts.dedup();
    assert_eq!(texts.len(), 3);
}

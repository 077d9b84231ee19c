//! Commits without an answer, and loads that are behind.

use std::collections::VecDeque;

use sqlx::Result;

use super::*;

everywhere! {
    timeout_counted_as_no started_run_was_orphaned edit_made_twice migration_failed_the_queue
    meanings_of_errors early_message stop_request_without_an_answer
}

/// The fate of a commit: whether it is made, and the error that answers it.
type Fate = (bool, fn() -> Error);

const LOST: Fate = (false, no_answer);
const MADE: Fate = (true, no_answer);

fn no_answer() -> Error {
    Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// A store with trouble on the way to it.
#[derive(Clone)]
struct Troubled(SqlStore, Arc<Mutex<Trouble>>);

#[derive(Default)]
struct Trouble {
    fates: VecDeque<Fate>,
    /// Somebody else's statement after the first commit without an answer.
    meanwhile: Option<&'static str>,
    /// The next load's result, instead of its own.
    behind: Option<Row>,
    sent: usize,
}

impl Troubled {
    fn new(service: &Service, fates: &[Fate], meanwhile: Option<&'static str>) -> Self {
        let fates = fates.iter().copied().collect();
        let trouble = Trouble { fates, meanwhile, ..Trouble::default() };
        Self(service.store.clone(), Arc::new(Mutex::new(trouble)))
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.1.lock().unwrap()
    }
}

impl Tasks for Troubled {
    fn store(&self) -> &SqlStore {
        &self.0
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let behind = self.trouble().behind.take();
        if behind.is_some() { Ok(behind) } else { self.0.load(key).await }
    }

    async fn commit(&self, key: &Key, draft: &Draft, note: &Note) -> Result<bool> {
        self.trouble().sent += 1;
        let fate = self.trouble().fates.pop_front();
        let Some((is_made, answer)) = fate else { return self.0.commit(key, draft, note).await };
        if is_made {
            self.0.commit(key, draft, note).await?;
        }
        let meanwhile = self.trouble().meanwhile.take();
        sql_on(&self.0.writers, meanwhile.unwrap_or_default()).await?;
        Err(answer())
    }

    async fn pause(&self, _: u32) {}
}

const EDIT: &str = "UPDATE tasks SET revision = revision + 1";

/// Without an answer it is looked, and not guessed; what came to nothing is made then.
async fn timeout_counted_as_no(service: Service) {
    let lasting: Fate = (false, || Error::Decode("wrong".into()));
    let busy: Fate = (false, || Error::PoolTimedOut);
    for (fates, meanwhile, told, revision) in [
        (&[LOST][..], None, "yes", 1),
        (&[MADE], None, "yes", 1),
        (&[LOST, MADE], None, "yes", 1),
        (&[LOST], Some(EDIT), "yes", 2), // it can no longer be made
        (&[MADE], Some(EDIT), "unknown", 2), // a refusal may be the echo of the client's own change
        (&[LOST; 9], None, "unknown", 0),
        (&[lasting], None, "no", 0),
        (&[LOST, lasting], None, "no", 0),
        (&[busy], None, "no", 0),
    ] {
        let key = service.create("one").await;
        let troubled = Troubled::new(&service, fates, meanwhile);
        let cancelled = change(&troubled, &key, "request", |draft, _, _| {
            draft.cancel()?;
            Ok("cancel")
        });
        let answer = match cancelled.await {
            Ok(_) => "yes",
            Err(Refusal::Unknown) => "unknown",
            Err(Refusal::Store(_)) => "no",
            Err(_) => "refused",
        };
        let task = service.task(&key).await;
        assert_eq!((answer, task.revision()), (told, Revision::new(revision)));
        assert_eq!(task.status().is_completed(), revision > 0);
    }
}

/// A start that was made, without an answer, and edited since: the mark tells its worker.
async fn started_run_was_orphaned(service: Service) {
    let key = service.create("one").await;
    let message = service.receive().await;
    let troubled = || Troubled::new(&service, &[MADE], Some(EDIT));
    let (run, _) = worker(troubled(), "one").start(&message).await.unwrap().unwrap();
    assert_eq!(run, Run::new(0));
    assert_eq!(service.worker("two").start(&message).await.unwrap(), None);
    // So with a run that it takes over.
    service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
    let (run, _) = worker(troubled(), "two").start(&message).await.unwrap().unwrap();
    assert_eq!((run, service.load(&key).await.attempts), (Run::new(1), 1));
}

/// An edit in the name of a run sets, so that it is the same when it is made twice.
async fn edit_made_twice(service: Service) {
    let (key, run) = service.started(&service.worker("one")).await;
    let label = "UPDATE tasks SET revision = revision + 1,
        payload = replace(payload, '\"file_name\":\"', '\"file_name\":\"labelled ')";
    let fates = [LOST, MADE];
    let worker = worker(Troubled::new(&service, &fates, Some(label)), "one");
    worker.finish(&key, run, &Ok(vec![])).await.unwrap();
    let document = Document::read(&service.load(&key).await.payload).unwrap();
    assert_eq!(document.file_name, "labelled document");
    assert_eq!((&*document.message, document.chunks), ("Task succeeded", Some(vec![])));
}

/// Only errors that are known to be lasting fail a task. All others cost time.
async fn migration_failed_the_queue(service: Service) {
    let faults: [fn() -> Error; 4] =
        [no_answer, || Error::PoolTimedOut, || Error::WorkerCrashed, || Error::RowNotFound];
    let fates = faults.map(|fault| (false, fault));
    let key = service.create("one").await;
    let worker = worker(Troubled::new(&service, &[fates, fates].concat(), None), "one");
    let (run, _) = worker.start(&service.receive().await).await.unwrap().unwrap();
    worker.finish(&key, run, &Ok(vec![])).await.unwrap();
    assert_eq!(service.status(&key).await, "Succeeded");
    assert_eq!(worker.tasks.trouble().sent, 10);
}

/// The errors of the databases themselves.
#[rustfmt::skip]
async fn meanings_of_errors(service: Service) {
    let meaning_of = async |sql: &str| meaning(&service.sql(sql).await.unwrap_err());
    assert_eq!(meaning_of("UPDATE nothing SET at = 0").await, Meaning::NotDone);
    assert_eq!(meaning_of("INSERT INTO events (at) VALUES (NULL)").await, Meaning::Lasting);
    for (expected, codes) in [
        (Meaning::Lasting, &["22001", "22P02", "23514", "54000"][..]),
        (Meaning::LostRace, &["40001", "40P01"]),
        // Among them 0A000: cached plan must not change result type.
        (Meaning::NotDone, &["0A000", "25006", "26000", "42501", "42703", "42P05", "53100", "53300", "55P03", "57014"]),
        (Meaning::Unknown, &["08006", "40003", "57P01", "58030", "XX000"]),
    ] {
        for code in codes.iter().filter(|_| !service.is_sqlite()) {
            let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$");
            assert_eq!(meaning_of(&raise).await, expected, "{code}");
        }
    }
}

/// A message whose run is newer than what was loaded goes back a few times, and then aside.
async fn early_message(service: Service) {
    let key = service.succeeded().await;
    let behind = service.load(&key).await;
    service.update(&key, &json!({})).await;
    for delivery in 1..=5 {
        let message = service.receive().await;
        assert_eq!(message.deliveries, delivery);
        let worker = worker(Troubled::new(&service, &[], None), "one");
        worker.tasks.trouble().behind = Some(behind.clone());
        worker.deliver(&message, &CancellationToken::new()).await;
        assert_eq!(service.status(&key).await, "Starting");
        assert_eq!(service.number("SELECT due_at FROM tasks").await.is_none(), delivery == 5);
        service.sql("UPDATE tasks SET due_at = 0 WHERE due_at > 0").await.unwrap();
    }
    assert!(service.store.receive().await.unwrap().is_none());
}

/// Without an answer, a request to stop counts exactly if it is found, also if it is another's; an
/// edit of somebody else is equal to it, and is none. The revision that is told exists.
async fn stop_request_without_an_answer(service: Service) {
    let theirs = "UPDATE tasks SET stop_requested = run, revision = revision + 7";
    for (fate, meanwhile, sent, later) in
        [(LOST, EDIT, 2, 2), (MADE, EDIT, 1, 2), (LOST, theirs, 1, 7)]
    {
        let (key, run) = service.started(&service.worker("one")).await;
        let loaded = service.task(&key).await.revision();
        let troubled = Troubled::new(&service, &[fate], Some(meanwhile));
        let (draft, _) = change(&troubled, &key, "request", ask_to_stop()).await.unwrap();
        assert!(service.load(&key).await.is_stopped());
        assert!(!service.store.renew(&key, run).await.unwrap()); // so its worker sees it
        assert_eq!(troubled.trouble().sent, sent);
        assert_eq!(draft.revision().since(loaded), later);
        assert_eq!(draft.revision(), service.task(&key).await.revision());
        // Asked again, it is the same request.
        let again = service.ask(&key, "stop").await;
        assert_eq!((again.code, again.etag), (202, format!("\"{}\"", draft.revision())));
        service.sql("DELETE FROM tasks").await.unwrap();
    }
    // Whoever starts a run looks for a request, too.
    let key = service.create("one").await;
    service.sql(theirs).await.unwrap();
    assert!(service.worker("one").start(&service.receive().await).await.unwrap().is_none());
    assert_eq!(service.status(&key).await, "Cancelled");
}

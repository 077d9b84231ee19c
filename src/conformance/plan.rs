//! What a client is about to do.

use std::format;
use std::string::String;

use super::Store;
use super::call::{Answer, Call, Request, change, leap};
use super::found::Outcome;
use super::history::{Act, Ask, TEXTS};
use super::model::Row;
use super::play::{MOST_TASKS, Play};
use super::show::show;
use super::suite::Suite;
use crate::Task;

impl<S: Store> Play<'_, S> {
    /// What a client is about to do; `None` if there is nothing to do it to. `fresh`: with the
    /// task as it is now.
    pub(super) async fn prepare(&mut self, act: &Act, fresh: bool) -> Outcome<Option<Call<S>>> {
        let client = usize::from(act.client);
        if let Ask::Create(text) = act.ask {
            let has_room = self.rows.len() + 1 < MOST_TASKS;
            return Ok(has_room.then(|| self.create(client, text)));
        }
        if self.rows.is_empty() {
            return Ok(None);
        }
        let index = usize::from(act.task) % self.rows.len();
        let id = self.rows[index].id.clone();
        match act.ask {
            Ask::Load | Ask::Create(_) => {
                return Ok(Some(Call::new(client, index, Request::Load(id))));
            }
            Ask::CreateAs(text) => {
                // Nobody may take the name of a task that is gone, either; few stores know it.
                if !self.suite.creates_as || self.rows[index].certain().is_none() {
                    return Ok(None);
                }
                let task = Task::new(self.payload(text, None));
                return Ok(Some(Call::new(client, index, Request::CreateAs(id, task))));
            }
            Ask::Commit(_) | Ask::Leap(_) | Ask::Delete => {}
        }
        if self.stranger == Some(index) {
            return Ok(None);
        }
        let Some(mut task) = self.hold(client, index, fresh).await? else {
            return Ok(None);
        };
        let loaded = task.revision();
        Ok(Some(match &act.ask {
            Ask::Commit(changes) => {
                let payload = |text, current: &_| self.payload(text, Some(current));
                let (words, reverts) = change(&mut task, changes, payload);
                let request = Request::commit(id, loaded, task);
                Call {
                    words,
                    reverts,
                    ..Call::new(client, index, request)
                }
            }
            Ask::Leap(edge) => {
                let Some(task) = leap::<S>(task, *edge) else {
                    return Ok(None);
                };
                let request = Request::commit(id, loaded, task);
                let words = "many changes".into();
                Call {
                    words,
                    ..Call::new(client, index, request)
                }
            }
            Ask::Load | Ask::Create(_) | Ask::CreateAs(_) | Ask::Delete => {
                return self.delete(client, index, task).await;
            }
        }))
    }

    /// A delete, and the commit before it of a task that is not completed.
    async fn delete(
        &mut self,
        client: usize,
        index: usize,
        mut task: Task<S::Payload>,
    ) -> Outcome<Option<Call<S>>> {
        let id = self.rows[index].id.clone();
        if task.status().is_active() {
            let loaded = task.revision();
            let reverts = task.fail().is_ok_and(|done| done.reverted());
            let request = Request::commit(id.clone(), loaded, task);
            let words = "fail".into();
            self.send(Call {
                words,
                reverts,
                ..Call::new(client, index, request)
            })
            .await?;
            self.look_if_watched().await?;
        }
        // The copy that the commit left, if it was accepted.
        let copy = self.clients[client].copies[index].as_ref();
        let copy = copy.filter(|copy| !copy.status().is_active());
        Ok(copy.map(|copy| Call::new(client, index, Request::delete(id, copy.revision()))))
    }

    pub(super) fn create(&mut self, client: usize, text: u8) -> Call<S> {
        let task = Task::new(self.payload(text, None));
        Call::new(client, self.rows.len(), Request::Create(task))
    }

    fn payload(&mut self, text: u8, current: Option<&S::Payload>) -> S::Payload {
        self.texts += 1;
        let text = usize::from(text) % TEXTS.len();
        let payload = S::payload(TEXTS[text]);
        // A change that changes nothing would hide that it was lost.
        if text == 0 || current.is_some_and(|current| *current == payload) {
            return S::payload(&format!("{} {}", TEXTS[0], self.texts));
        }
        payload
    }

    /// The client's copy of the task, loaded now if it has none.
    async fn hold(
        &mut self,
        client: usize,
        index: usize,
        fresh: bool,
    ) -> Outcome<Option<Task<S::Payload>>> {
        let copy = self.clients[client].copies[index].as_ref();
        if copy.is_none() || fresh && copy != self.rows[index].certain() {
            let line = format!("client {} loads task {}", client + 1, index + 1);
            let line = self.suite.clock.tell(line);
            let seen = self.see(client, index, Some(line)).await?;
            let text = format!(": {}", show(seen.as_ref()));
            self.suite.clock.add(line, &text);
            self.clients[client].copies[index] = seen;
        }
        Ok(self.clients[client].copies[index].clone())
    }

    /// Asks about a task of another store, which never existed in this one.
    pub(super) async fn ask_about_stranger(&mut self, act: &Act) -> Outcome {
        let Some(id) = self.suite.stranger.clone() else {
            return Ok(());
        };
        let client = usize::from(act.client);
        let strange = Suite::<S>::strange_task;
        if self.stranger.is_none() {
            let answer = self.make(client, &Request::Load(id.clone())).await;
            if matches!(answer, Answer::Loaded(Some(task)) if task == strange()) {
                self.suite.stranger = None; // what `open` opens is the same every time
                return Ok(());
            }
            self.stranger = Some(self.push(Row::new(id.clone(), None, client)));
        }
        let (request, words) = match act.ask {
            Ask::Load => (Request::Load(id), ""),
            Ask::Delete => (Request::delete(id, 1), "delete"),
            Ask::Create(_) | Ask::CreateAs(_) | Ask::Commit(_) | Ask::Leap(_) => {
                let mut task = strange();
                let _ = task.start();
                (Request::commit(id, 0, task), "start")
            }
        };
        let (index, words) = (self.stranger.unwrap_or(0), String::from(words));
        self.send(Call {
            words,
            ..Call::new(client, index, request)
        })
        .await
    }
}

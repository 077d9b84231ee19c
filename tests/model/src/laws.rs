//! The laws: they hold in every order of events.

use task_lifecycle::Status;

use crate::Protocol;
use crate::change::Change;
use crate::world::{Actor, WORKERS, World};

texts! {
    Law {
        // law: starting_only
        StartingOnly: "a client's cancel is accepted only in `Starting`",
        CancelHolds: "after a cancel no worker's start, edit or result on that payload is accepted",
        CompletedIsOver: "a task never shows a completed status while a run of it is still going to be accepted",
        // law: nothing_lost
        NothingLost: "no accepted change is lost, nor half of it",
        NotTwice: "no change is made twice",
        // law: identity
        RevertIsExact: "a revert shows exactly what the client saw before the update",
        // law: fenced
        Fenced: "what is done in a run's name is accepted only while that run is current",
        OneWorker: "no two workers have the same run",
        RunIsKept: "a worker drops its run only when it was taken away or has ended",
        StartingIsQueued: "a task in `Starting` has a message of its run, or somebody who is about to send one",
        LeaseFits: "a task in `Processing` has a lease of its run, and no other task has one",
        LeaseHolds: "only its own worker ends a run whose lease is not over",
        AnswersAreTrue: "what was answered with yes has happened; what was answered with no has not, and will not",
        RefusalIsTrue: "a refusal is true of the task when it is given",
        NamedOnly: "a request that names a revision changes nothing but what its client saw",
        StopsItsOwn: "a stop request stops nothing but what it was made for",
        StopSurvives: "a stop request holds until what it was made for is over, whoever dies",
        StopIsNotLost: "after a stop was accepted, no start and no result is",
    }
}

impl Law {
    pub(crate) fn holds(self, protocol: &Protocol, world: &World) -> bool {
        let row = world.row.as_ref();
        match self {
            Self::OneWorker => {
                let held = world.actors[WORKERS].iter().filter_map(Actor::held);
                held.filter(|&token| world.onlooker.is_current(token)).count() <= 1
            }
            Self::StartingIsQueued => row.is_none_or(|row| {
                let mut messages = world.queue.iter().copied();
                row.task.status() != Status::Starting
                    || messages.any(|message| protocol.check(row, Change::Start, message).is_ok())
                    || world.actors.iter().enumerate().any(|(who, actor)| match actor {
                        Actor::Pushes(message) => row.task.check_run(message.run).is_ok(),
                        _ => actor.intent().is_some_and(|intent| {
                            let pushes =
                                intent.change == Change::UpdateAndPush && world.onlooker.made[who];
                            let has = |token| protocol.check(row, intent.change, token).is_ok();
                            pushes || intent.token.is_some_and(has)
                        }),
                    })
            }),
            Self::LeaseFits => row.is_none_or(|row| {
                let run = row.is_processing().then(|| row.task.run());
                row.lease.map(|lease| lease.run) == run
            }),
            Self::StopSurvives => {
                !world.onlooker.is_to_stop() || row.is_some_and(|row| protocol.stop_holds(row))
            }
            _ => !world.onlooker.has_broken(self),
        }
    }
}

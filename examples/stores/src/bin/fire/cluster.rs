//! Three nodes of etcd: how they are disturbed, and what they remember.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Context;
use etcd_client::{Client, EventType, WatchOptions};
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use rand::rngs::StdRng;
use task_stores::engines::{self, Disk, Engine};
use task_stores::{Task, etcd};
use tokio::time::sleep;
use uuid::Uuid;

/// A state that a task came to, `None` if it was deleted, and the revision of etcd that it has.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: i64,
    pub task: Option<Task>,
}

pub struct Cluster {
    pub engine: Engine,
    /// A client of each node, in the order of the processes.
    nodes: Vec<Client>,
}

impl Cluster {
    pub async fn start() -> anyhow::Result<Self> {
        // In memory: a process that is killed leaves what it wrote to the system.
        let engine = engines::start("etcd", Disk::Memory).context("no etcd")?;
        let mut nodes = Vec::new();
        for url in engine.address.split(',') {
            nodes.push(etcd::open(url).await?);
        }
        let cluster = Self { engine, nodes };
        cluster.leader().await;
        Ok(cluster)
    }

    /// Waits for one.
    async fn leader(&self) -> usize {
        loop {
            for (at, node) in self.nodes.iter().enumerate() {
                let status = node.maintenance_client().status().await;
                let is_leader = |status: &etcd_client::StatusResponse| {
                    status.header().is_some_and(|header| header.member_id() == status.leader())
                };
                if status.as_ref().is_ok_and(is_leader) {
                    return at;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills the leader and brings it back, stops a follower and lets it go on, by turns for some
    /// time. Returns how often.
    pub async fn disturb(&mut self, mut random: StdRng, time: Duration) -> (usize, usize) {
        let (begin, bar) = (Instant::now(), ProgressBar::new(time.as_secs()));
        let style = ProgressStyle::with_template("etcd under fire {wide_bar} {msg}");
        bar.set_style(style.expect("a template"));
        let (mut kills, mut stops) = (0, 0);
        let mut nap = async |millis: Range<u64>| {
            sleep(Duration::from_millis(random.random_range(millis))).await;
            bar.set_position(begin.elapsed().as_secs());
        };
        while begin.elapsed() < time {
            nap(500..1500).await;
            let leader = self.leader().await;
            if kills == stops {
                self.engine.processes[leader].kill();
                nap(300..2500).await; // before and after the others have elected another
                self.engine.processes[leader].start_again();
                kills += 1;
            } else {
                let follower = &self.engine.processes[(leader + 1 + kills % 2) % 3];
                follower.signal("STOP");
                nap(300..3000).await; // before and after the clients have run out of patience
                follower.signal("CONT");
                stops += 1;
            }
            bar.set_message(format!("{kills} leaders killed"));
        }
        bar.finish_and_clear();
        (kills, stops)
    }

    /// Every state of every task: nothing was compacted, so etcd still has them all.
    pub async fn history(&self) -> anyhow::Result<HashMap<Uuid, Vec<Entry>>> {
        const END: &str = "task/end";
        let mut db = self.nodes[self.leader().await].clone();
        db.put(END, "", None).await?;
        let options = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut watch = db.watch("task/", Some(options)).await?;
        let mut history = HashMap::<Uuid, Vec<Entry>>::new();
        loop {
            let message = watch.message().await?.context("the watch has ended")?;
            anyhow::ensure!(!message.canceled(), "{}", message.cancel_reason());
            for event in message.events() {
                let kv = event.kv().context("an event of nothing")?;
                if kv.key() == END.as_bytes() {
                    return Ok(history);
                }
                let id = kv.key_str()?.trim_start_matches("task/").parse()?;
                let task = match event.event_type() {
                    EventType::Put => Some(serde_json::from_slice(kv.value())?),
                    EventType::Delete => None,
                };
                history.entry(id).or_default().push(Entry { at: kv.mod_revision(), task });
            }
        }
    }
}

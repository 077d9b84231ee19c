//! Requests per second and their times, by the number of clients.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::query_scalar;
use task_service::store::SqlStore;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Database;
use crate::testing::client::Client;

const CLIENTS: [usize; 3] = [1, 16, 64];
const REQUESTS: [&str; 4] = ["create", "get", "list", "cancel"];

/// The least number of tasks in the queue that is drained.
const QUEUED: i64 = 500;

/// Requests of one kind.
#[derive(Clone, Default)]
struct Asked {
    times: Vec<Duration>,
    per_second: f64,
}

/// A row for each database and number of clients.
pub async fn measure(time: Duration) -> anyhow::Result<String> {
    let mut table = "| | clients |".to_owned();
    for request in REQUESTS {
        write!(table, " {request}/s | p50, p99 ms |")?;
    }
    table += " drained/s |\n| --- | ---: |";
    table += &" ---: |".repeat(2 * REQUESTS.len() + 1);
    for database in Database::each()? {
        for clients in CLIENTS {
            let server = database.serve(&["--workers", "0"])?;
            write!(table, "\n| {} | {clients} |", database.name)?;
            for Asked { mut times, per_second } in ask(&server.url, clients, time).await? {
                times.sort_unstable();
                let millis =
                    |per_cent: usize| times[times.len() * per_cent / 100].as_secs_f64() * 1e3;
                write!(table, " {per_second:.0} | {:.1}, {:.1} |", millis(50), millis(99))?;
            }
            write!(table, " {:.0} |", drain(&database, &server.url).await?)?;
        }
    }
    Ok(table)
}

/// All clients send one kind of request after the other.
async fn ask(url: &str, clients: usize, time: Duration) -> anyhow::Result<Vec<Asked>> {
    let barrier = Arc::new(Barrier::new(clients));
    let mut asking = JoinSet::new();
    for _ in 0..clients {
        let (client, barrier) = (Client::new(url, "try-me"), barrier.clone());
        asking.spawn(async move {
            let (mut ids, mut all) = (Vec::<String>::new(), Vec::new());
            for request in REQUESTS {
                client.call("GET", "/health").await?; // is connected
                barrier.wait().await;
                let begin = Instant::now();
                let mut times = Vec::new();
                while begin.elapsed() < time {
                    let sent = Instant::now();
                    let answer = match request {
                        "create" => client.create("one two three", 2).await?,
                        "get" => client.get(&ids[times.len() % ids.len()]).await?,
                        "list" => client.call("GET", "/tasks").await?,
                        _ if times.len() == ids.len() => break, // nothing is left to cancel
                        _ => client.cancel(&ids[times.len()]).await?,
                    };
                    times.push(sent.elapsed());
                    ensure!(answer.code == 200, "{request}: {answer:?}");
                    if request == "create" {
                        ids.push(answer.id());
                    }
                }
                let per_second =
                    f64::from(u32::try_from(times.len())?) / begin.elapsed().as_secs_f64();
                all.push(Asked { times, per_second });
            }
            anyhow::Ok(all)
        });
    }
    let mut all = vec![Asked::default(); REQUESTS.len()];
    while let Some(asked) = asking.join_next().await {
        for (all, asked) in all.iter_mut().zip(asked??) {
            all.times.extend(asked.times);
            all.per_second += asked.per_second;
        }
    }
    Ok(all)
}

/// How many tasks per second four workers finish, if the work itself takes no time.
async fn drain(database: &Database, url: &str) -> anyhow::Result<f64> {
    let store = SqlStore::open(&database.url, Duration::ZERO).await?;
    let active = async || {
        let count = "SELECT count(*) FROM tasks WHERE status IN ('Starting', 'Processing')";
        anyhow::Ok(query_scalar::<_, i64>(count).fetch_one(&store.pool).await?)
    };
    let client = Client::new(url, "try-me");
    while active().await? < QUEUED {
        client.create("one two three", 2).await?;
    }
    let (begin, queued) = (Instant::now(), active().await?);
    let _workers = database.serve(&["--no-server", "--workers", "4", "--work-millis", "0"])?;
    while active().await? > 0 {
        sleep(Duration::from_millis(20)).await;
    }
    Ok(f64::from(u32::try_from(queued)?) / begin.elapsed().as_secs_f64())
}

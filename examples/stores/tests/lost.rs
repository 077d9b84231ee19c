//! The answer to a commit is lost on its way: an error and not a refusal, however much the client
//! libraries like to try again; and `settle` finds that it won.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use task_stores::engines::{self, Disk};
use task_stores::settle::{Settled, settle};
use task_stores::suite::{Etcd, Postgres, Redis, S3, Store};
use task_stores::{Task, postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is written so that the proxy knows it.
const MARK: &str = "the answer to this is lost";

const ERROR: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Stands before the engine at that port, and loses the answer to the first request with the mark:
/// it closes the connection, or sends `instead`. Returns its own port.
async fn proxy(port: u16, instead: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let has_lost = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(relay(client, server, Arc::clone(&has_lost), instead));
        }
    });
    own
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    has_lost: Arc<AtomicBool>,
    instead: &[u8],
) -> std::io::Result<()> {
    let (mut request, mut answer) = ([0; 8 << 10], [0; 8 << 10]);
    let mut loses = false;
    loop {
        tokio::select! {
            count = client.read(&mut request) => {
                let request = &request[..count?];
                if request.is_empty() {
                    return Ok(());
                }
                let is_marked = request.windows(MARK.len()).any(|text| text == MARK.as_bytes());
                loses |= is_marked && !has_lost.swap(true, Ordering::SeqCst);
                server.write_all(request).await?;
            }
            count = server.read(&mut answer) => {
                let answer = &answer[..count?];
                if loses {
                    return client.write_all(instead).await; // by now it has happened
                }
                if answer.is_empty() {
                    return Ok(());
                }
                client.write_all(answer).await?;
            }
        }
    }
}

async fn is_settled<S: Store>(instead: &'static [u8]) {
    let Some(engine) = engines::start(S::NAME, Disk::Memory) else { return };
    if S::NAME == Postgres::NAME {
        let store = Postgres::open(&engine.address).await.unwrap();
        sqlx::raw_sql(postgres::SCHEMA).execute(&store.db).await.unwrap();
    }
    let address = engine.address.split(',').next().unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let own = proxy(port.parse().unwrap(), instead).await;
    let store = S::open(&address.replace(&port, &own.to_string())).await.unwrap();

    let mut task = Task::new(S::payload("text"));
    let id = store.create(&task).await.unwrap();
    task.edit(|it| "warm".clone_into(&mut it.message));
    assert!(store.commit(&id, 0, &task).await.unwrap());
    let loaded = task.revision();
    task.edit(|it| MARK.clone_into(&mut it.message));

    let answers = Cell::new(Vec::new());
    let commit = async || {
        let answer = store.commit(&id, loaded, &task).await;
        let mut all = answers.take();
        all.push(format!("{answer:?}"));
        answers.set(all);
        answer
    };
    let settled = settle(loaded, Some(&task), commit, async || store.load(&id).await).await;
    let answers = answers.take();
    assert!(settled == Settled::Won && answers[0].starts_with("Err"), "{settled:?}: {answers:?}");
    assert_eq!(answers.len(), 1, "it had happened: {answers:?}");
    assert_eq!(S::open(&engine.address).await.unwrap().load(&id).await.unwrap(), Some(task));
}

#[tokio::test]
async fn postgresql() {
    is_settled::<Postgres>(b"").await;
}

#[tokio::test]
async fn etcd() {
    is_settled::<Etcd>(b"").await;
}

#[tokio::test]
async fn redis() {
    is_settled::<Redis>(b"").await;
}

#[tokio::test]
async fn s3() {
    is_settled::<S3>(b"").await;
    is_settled::<S3>(ERROR).await;
}

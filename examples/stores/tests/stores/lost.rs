//! The answer to a commit is lost on its way: an error and not a refusal, however much the client
//! libraries like to try again; and `settle` finds that it was made.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use task_stores::settle::{Settled, settle};
use task_stores::{Draft, Task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Open, S3, document, on_each, run};

/// The text by which the proxy knows a commit.
const MARK: &str = "the answer to this is lost";

/// Stands before the engine at that port, and loses the answer to the first request with the mark:
/// it closes the connection, or sends `instead`. Returns its own port.
async fn proxy(port: u16, instead: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let has_lost: &AtomicBool = Box::leak(Box::default());
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(relay([client, server], has_lost, instead));
        }
    });
    own
}

async fn relay(ends: [TcpStream; 2], has_lost: &AtomicBool, instead: &[u8]) -> io::Result<()> {
    let [mut client, mut server] = ends;
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
                    return client.write_all(instead).await; // it has happened, or soon will
                }
                if answer.is_empty() {
                    return Ok(());
                }
                client.write_all(answer).await?;
            }
        }
    }
}

async fn is_settled<S: Open>(instead: &'static [u8]) {
    let Some(engine) = S::start() else { return };
    let address = engine.address.split(',').next().unwrap();
    let port = address.rsplit(':').next().unwrap().split('/').next().unwrap();
    let own = proxy(port.parse().unwrap(), instead).await;
    let store = S::open(&address.replace(port, &own.to_string())).await.unwrap();
    let id = store.create(&Task::new(document("text"))).await.unwrap();

    let answers = RefCell::new(Vec::new());
    let mark = |draft: &mut Draft| {
        draft.edit(|it| MARK.clone_into(&mut it.message));
        Ok::<_, Infallible>(())
    };
    let commit = async |draft: Draft| {
        let answer = store.commit(&id, &draft).await;
        answers.borrow_mut().push(format!("{answer:?}"));
        answer
    };
    let settled = settle(|| store.load(&id), mark, commit).await;
    let answers = answers.take();
    let stored = S::open(&engine.address).await.unwrap().load(&id).await.unwrap().unwrap();
    assert!(answers[0].starts_with("Err"), "{answers:?}");
    assert_eq!((stored.payload().message.as_str(), stored.revision().get()), (MARK, 1));
    assert_eq!(settled, Settled::Made(stored), "{answers:?}");
}

fn is_known<S: Open>() {
    run(is_settled::<S>(b""));
}

on_each!(is_known: postgres Postgres etcd Etcd redis Redis s3 S3);

#[test]
fn s3_behind_an_error() {
    run(is_settled::<S3>(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"));
}

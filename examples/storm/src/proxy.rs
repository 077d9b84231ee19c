//! A proxy to PostgreSQL for one process. It cuts connections at commits: before the commit reaches
//! the database, so that it never does or does later, or after, so that the answer is lost. And it
//! kills the process in the middle of one.

use std::cell::Cell;
use std::io::Result;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::service::kill;
use crate::storm::{KILLED, LOST, Storm, nap};

pub const LATE: &str = "commits that came late";

/// The process that is to die at its next commit.
pub type Doomed = Rc<Cell<Option<u32>>>;

/// Starts one, and returns its port.
pub async fn start(storm: Rc<Storm>, doomed: Doomed, to: u16) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    spawn_local(async move {
        while let Ok((client, _)) = listener.accept().await {
            spawn_local(carry(client, storm.clone(), doomed.clone(), to));
        }
    });
    Ok(port)
}

/// Carries both ways until one side ends, or is to be cut off, and then closes both.
async fn carry(mut client: TcpStream, storm: Rc<Storm>, doomed: Doomed, to: u16) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut told, mut is_commit) = (vec![0; 1 << 16], vec![0; 1 << 16], false);
    let is_to = |fault, often| {
        let is_so = !storm.is_over() && rand::random_bool(often);
        storm.count(fault, is_so);
        is_so
    };
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let asked = &asked[..read?];
                // Every commit says who made it, and nothing else does.
                let says = |by: &[u8]| asked.windows(by.len()).any(|part| part == by);
                is_commit = says(b"request r") || says(b"worker ");
                if is_commit && let Some(process) = doomed.take() {
                    kill("KILL", process);
                    storm.count(KILLED, true);
                } else if is_commit && is_to(LOST, 0.02) || asked.is_empty() {
                    return Ok(());
                } else if is_commit && is_to(LATE, 0.02) {
                    drop(client);
                    nap(20..600).await;
                    server.write_all(asked).await?;
                    return server.read(&mut told).await.map(drop);
                }
                server.write_all(asked).await?;
            }
            read = server.read(&mut told) => {
                let told = &told[..read?];
                if told.is_empty() || is_commit && is_to(LOST, 0.06) {
                    return Ok(());
                }
                client.write_all(told).await?;
            }
        }
    }
}

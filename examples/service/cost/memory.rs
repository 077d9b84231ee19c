//! Peak memory of the service under requests made to use a lot of it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Database;
use crate::testing::client::Client;
use crate::testing::process::Process;

/// A row for each attack, with a fresh process for each.
pub async fn measure() -> anyhow::Result<String> {
    let mut table = "| |".to_owned();
    let mut rows: Vec<_> = [
        "at rest",
        "4 MiB in chunks of one word, which is too large",
        "1 MiB in chunks of one word, fetched once",
        "⋯ fetched by 32 clients at a time",
        "⋯ and none of them reads the answer",
        "20 tasks with 250 KiB of configuration, in one page",
        "32 bodies of 16 MiB of zeros at a time",
        "32 files of 12 MiB at a time",
        "400 connections with half a head of 4 MiB",
    ]
    .map(|name| format!("\n| {name} |"))
    .into();
    let mut line = "\n| --- |".to_owned();
    for database in Database::each()? {
        write!(table, " {} |", database.name)?;
        line += " ---: |";
        for (attack, row) in rows.iter_mut().enumerate() {
            let server = database.serve(&["--work-millis", "0"])?;
            let client = Client::new(&server.url, "try-me");
            let _connections = attacked(attack, &server, &client).await?;
            ensure!(client.call("GET", "/health").await?.code == 200, "it lives");
            write!(row, " {} MiB |", server.peak_memory() >> 10)?;
        }
    }
    Ok(table + &line + &rows.concat())
}

async fn attacked(
    attack: usize,
    server: &Process,
    client: &Client,
) -> anyhow::Result<Vec<TcpStream>> {
    let mut connections = Vec::new();
    match attack {
        1 => {
            let id = client.create(&"a+".repeat(1 << 21).replace('+', "%20"), 1).await?.id();
            while client.get(&id).await?.status() != "Failed" {
                sleep(Duration::from_millis(100)).await;
            }
        }
        2..=4 => {
            let id = client.create(&"a+".repeat(1 << 19).replace('+', "%20"), 1).await?.id();
            let limit = Instant::now() + Duration::from_mins(3);
            let path = format!("/tasks/{id}");
            while client.call("GET", &format!("{path}?include_chunks=false")).await?.status()
                != "Succeeded"
            {
                ensure!(Instant::now() < limit, "the document takes too long");
                sleep(Duration::from_millis(100)).await;
            }
            match attack {
                2 => ensure!(client.get(&id).await?.code == 200, "the chunks"),
                3 => at_once(32, client, "GET", &path, "").await?,
                _ => {
                    for _ in 0..32 {
                        let head = format!(
                            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: try-me\r\n\r\n"
                        );
                        connections.push(say(server, head.as_bytes())?);
                    }
                    sleep(Duration::from_secs(5)).await;
                }
            }
        }
        5 => {
            let values: Vec<_> = (0..125_000).map(|_| 0).collect();
            let body =
                json!({ "file": "data:,one", "llm_processing": { "a": values } }).to_string();
            for _ in 0..20 {
                let created = client.send("POST", "/tasks/parse", body.clone()).await?;
                ensure!(created.code == 200, "{created:?}");
            }
            client.call("GET", "/tasks?limit=100").await?;
        }
        6 => {
            let zeros = "0,".repeat((16 << 19) - 50);
            let body = format!(r#"{{"file":"data:,one","llm_processing":{{"a":[{zeros}0]}}}}"#);
            at_once(32, client, "POST", "/tasks/parse", &body).await?;
        }
        7 => {
            let body = json!({ "file": "A".repeat((16 << 20) - 1000) }).to_string();
            at_once(32, client, "POST", "/tasks/parse", &body).await?;
        }
        8 => {
            for _ in 0..400 {
                let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(2 << 20));
                connections.extend(say(server, head.as_bytes()));
            }
        }
        _ => {}
    }
    Ok(connections)
}

async fn at_once(
    clients: usize,
    client: &Client,
    method: &'static str,
    path: &str,
    body: &str,
) -> anyhow::Result<()> {
    let mut asking = JoinSet::new();
    for _ in 0..clients {
        let (client, path, body) = (client.clone(), path.to_owned(), body.to_owned());
        asking.spawn(async move { client.send(method, &path, body).await });
    }
    while let Some(answer) = asking.join_next().await {
        _ = answer?; // it may be refused, or the connection be closed
    }
    Ok(())
}

fn say(server: &Process, text: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = server.connect()?;
    _ = stream.write_all(text); // which the server need not read
    Ok(stream)
}

use task_service::options::Options;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Options::read()?.keys().map(drop)
}

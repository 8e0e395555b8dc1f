//! The ZITADEL stand-in alone, without Ravelin before it: `cargo run --example standin [ADDRESS
//! [PORT [CONSOLE]]]`. With PORT it believes to be https://localhost:PORT, as behind `ravelin dev`;
//! CONSOLE is a folder with a build that is served as the Console.
//! Try `curl --http2-prior-knowledge http://127.0.0.1:8080/.well-known/openid-configuration`.

use std::net::SocketAddr;

use ravelin::standin::{Options, Standin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr =
        std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let mut options = Options { address, ..Options::default() };
    if let Some(port) = std::env::args().nth(2) {
        (options.external_port, options.external_secure) = (port.parse()?, true);
    }
    options.console = std::env::args().nth(3).map(Into::into);
    let standin = Standin::start(options).await?;
    println!("stand-in on http://{}, HTTP/1.1 and h2c; Ctrl-C ends it", standin.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

//! The public suite on a PostgreSQL server: reached directly, and through pgbouncer in
//! transaction mode, where nobody is told when a lock comes free.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lock_runtime::conformance::{Subject, Suite};
use servers::{PgBouncer, Postgres, Proxy};

/// Long enough to be renewed in time while other cases keep the machine busy.
const SHORT_TTL: Duration = Duration::from_secs(1);

/// Every case has its own way to the one server, so that it cuts nobody else's.
fn through(port: u16) -> impl Fn() -> Subject + Send + Sync + 'static {
    move || {
        let proxy = Arc::new(Proxy::to(port));
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
        Subject::new(move |manager| manager.url(url.as_str()).connect())
            .short_ttl(SHORT_TTL)
            .breakable(move |is_cut| if is_cut { proxy.cut() } else { proxy.mend() })
    }
}

fn main() -> ExitCode {
    let server = Postgres::shared();
    let pooler = PgBouncer::before(server);
    Suite::new()
        .subject("direct", through(server.port()))
        .subject("pgbouncer", through(pooler.port()))
        .run()
}

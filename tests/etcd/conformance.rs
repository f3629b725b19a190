//! The public suite, run against etcd. Every case has its own way to the one server, so that it
//! cuts nobody else's.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lock_runtime::conformance::{Subject, Suite};
use servers::{Etcd, Proxy};

/// The shortest lease that the server gives.
const SHORT_TTL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let server = Arc::new(Etcd::start());
    let shared = Arc::clone(&server);
    let result = Suite::new()
        .subject("etcd", move || {
            let proxy = Arc::new(Proxy::to(shared.port()));
            let url = proxy.url(&shared.url());
            Subject::new(move |manager| manager.url(url.as_str()).connect())
                .short_ttl(SHORT_TTL)
                .breakable(move |is_cut| {
                    if is_cut {
                        proxy.cut();
                    } else {
                        proxy.mend();
                    }
                })
        })
        .run();
    // It has to be in its senses after all that.
    server.control(&["endpoint", "health"]);
    result
}

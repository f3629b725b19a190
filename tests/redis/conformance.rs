//! The public suite, run against a real Redis and a real cluster. Every case has a way of its own
//! to the one server, so that it cuts nobody else's.

use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use lock_runtime::conformance::{Subject, Suite};
use servers::{Proxy, Redis, RedisCluster};

fn server() -> Subject {
    let server = Redis::shared();
    let proxy = Arc::new(Proxy::to(server.port()));
    let url = proxy.url(&server.url());
    Subject::new(move |manager| manager.url(url.as_str()).connect()).breakable(move |is_cut| {
        if is_cut {
            proxy.cut();
        } else {
            proxy.mend();
        }
    })
}

fn cluster() -> Subject {
    static CLUSTER: LazyLock<RedisCluster> = LazyLock::new(RedisCluster::start);
    let url = CLUSTER.url();
    Subject::new(move |manager| manager.url(url.as_str()).connect())
}

/// A server that writes down what it says before it says it, to be killed and started again.
fn durable() -> Subject {
    let server = Redis::options().durable().start();
    let url = server.url();
    let server = Mutex::new(server);
    Subject::new(move |manager| manager.url(url.as_str()).connect()).restartable(
        move |is_stopped| {
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            if is_stopped {
                server.kill();
            } else {
                server.start_again();
            }
        },
    )
}

fn main() -> ExitCode {
    Suite::new()
        .subject("server", server)
        .subject("cluster", cluster)
        .cases_of("durable", "restart::", durable)
        .run()
}

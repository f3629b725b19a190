//! One server of etcd.

use servers::Etcd;

#[test]
fn it_answers_and_keeps_its_data() {
    let mut etcd = Etcd::start();
    etcd.control(&["put", "key", "value"]);
    etcd.kill();
    etcd.start_again();
    assert_eq!(etcd.control(&["get", "key", "--print-value-only"]), "value");
    etcd.restart();
    assert_eq!(etcd.control(&["get", "key", "--print-value-only"]), "value");
}

#[test]
fn it_speaks_tls() {
    let etcd = Etcd::options().tls().start();
    etcd.control(&["put", "key", "value"]);
    assert_eq!(etcd.control(&["get", "key", "--print-value-only"]), "value");
}

#[test]
fn one_that_is_paused_does_not_answer_until_it_goes_on() {
    let mut etcd = Etcd::start();
    etcd.pause();
    let put = ["put", "key", "value", "--command-timeout=200ms"];
    assert!(etcd.try_control(&put).is_err());
    etcd.resume();
    etcd.control(&["put", "other", "value"]);
}

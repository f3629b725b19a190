//! Servers that stand together.

use servers::{Etcd, EtcdCluster, RedisCluster, Sentinels, eventually};

#[test]
fn etcd_goes_on_without_its_leader() {
    let mut cluster = EtcdCluster::start();
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 3);
    let old = cluster.leader().port();
    cluster.leader().control(&["put", "key", "value"]);
    cluster.leader().kill();
    let new = cluster.leader();
    assert_ne!(new.port(), old);
    assert_eq!(new.control(&["get", "key", "--print-value-only"]), "value");
    let is_old = |member: &&mut Etcd| member.port() == old;
    let old = cluster
        .members()
        .iter_mut()
        .find(is_old)
        .expect("one of them");
    old.start_again();
    assert_eq!(old.control(&["get", "key", "--print-value-only"]), "value");
    cluster.kill();
    cluster.start_again();
    let leader = cluster.leader();
    assert_eq!(
        leader.control(&["get", "key", "--print-value-only"]),
        "value"
    );
}

#[test]
fn sentinels_make_a_replica_the_master() {
    let mut redis = Sentinels::start();
    assert!(redis.url().ends_with("/mymaster"));
    let master = redis.master();
    let old = master.port();
    let mut connection = master.connect();
    connection.command(&["SET", "key", "value"]);
    assert_eq!(connection.command(&["WAIT", "2", "4000"]), "2");
    master.kill();
    eventually("there is another master", || redis.master().port() != old);
    let new = redis.master();
    assert_eq!(new.command(&["GET", "key"]), "value");
    eventually("it may be written", || {
        new.try_command(&["SET", "key", "2"]).is_ok()
    });
}

#[test]
fn encrypted_sentinels_make_a_replica_the_master() {
    let mut redis = Sentinels::start_encrypted();
    assert_ne!(redis.url(), redis.plain_url());
    assert_ne!(
        redis.certificates().authority(),
        redis.certificates_of_sentinels().authority()
    );
    let old = redis.master().port();
    redis.master().kill();
    eventually("there is another master", || redis.master().port() != old);
    let new = redis.master();
    eventually("it may be written", || {
        new.try_command(&["SET", "key", "value"]).is_ok()
    });
}

#[test]
fn an_encrypted_cluster_of_redis_makes_a_replica_a_master() {
    let mut cluster = RedisCluster::start_encrypted();
    let (one, another) = (cluster.nodes()[0].port(), cluster.nodes()[1].port());
    assert!(
        cluster
            .url()
            .contains(&format!(":{one},127.0.0.1:{another},"))
    );
    let old = cluster.master_of("a").port();
    cluster.master_of("a").kill();
    let new = cluster.master_of("a");
    assert_ne!(new.port(), old);
    eventually("it may be written", || {
        new.try_command(&["SET", "a", "value"]).is_ok()
    });
}

#[test]
fn a_cluster_of_redis_makes_a_replica_a_master() {
    let mut cluster = RedisCluster::start();
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 6);
    // Three slots, one of each master.
    for key in ["a", "b", "c"] {
        let mut connection = cluster.master_of(key).connect();
        connection.command(&["SET", key, "value"]);
        assert_eq!(connection.command(&["WAIT", "1", "4000"]), "1");
    }
    let master = cluster.master_of("a");
    let old = master.port();
    master.kill();
    let new = cluster.master_of("a");
    assert_ne!(new.port(), old);
    assert_eq!(new.command(&["GET", "a"]), "value");
}

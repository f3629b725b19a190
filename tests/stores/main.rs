//! What is tested of all stores of many hosts: Redis, PostgreSQL and etcd.
//!
//! Each test below is one of each store: `redis::effect::a_crowd_opens_no_connections`. What is
//! asked of every backend is in the conformance suite; what one store alone can do, or does in a
//! way of its own, is in `redis/`, `postgres/` and `etcd/`.
//!
//! * `counting`: eight processes count under one lock, with every fault.
//! * `effect`, `photon`, `leases`: what was seen to go wrong in other locks on a store. What needs
//!   no store is in `seeds/`; what the suite looks at on every store is there:
//!
//!   | seen | case of the suite |
//!   |---|---|
//!   | Photon: the check of who holds is passed, or comes before the entry | `identity::only_the_holder_may_call`, `S6::check_and_entry_are_one_step`, `S6::calls_of_the_holder_do_not_overlap` |
//!   | Photon: a turn lapses, also after a transfer | `identity::an_assignment_has_no_end`, `identity::a_transfer_without_an_end_gives_none` |
//!   | Photon: a transfer to nobody, or on anybody's word | `identity::a_lock_is_never_transferred_to_nobody`, `identity::no_caller_speaks_for_another` |
//!   | Photon: services share their names | `S7::namespaces_are_apart` |
//!   | Photon, Laravel: time-outs of nothing, and of centuries | `S3::a_body_does_not_run_with_an_option_that_is_wrong` |
//!   | Photon: names without a limit, or taken for one another | `S7::the_longest_name_works`, `S7::a_store_keeps_names_byte_by_byte` |
//!   | Photon: locks that have ended are listed | `looking::a_lock_that_is_over_is_not_listed`, `looking::a_lease_that_has_ended_is_not_shown` |
//!   | Photon: there is no queue | `L4::waiters_are_served_in_order_of_arrival` |
//!   | effect: who has a short lease enters beside a long one | `S1::a_contender_with_a_shorter_ttl_does_not_enter_early` |
//!   | effect: whose clock is ahead enters | `S1::a_contender_whose_clock_is_ahead_does_not_enter_early` |
//!   | effect: permits above the limit hang | `permits::another_number_is_an_error_that_says_both` |
//!   | paradoxical: a late release frees a successor | `S4::a_late_release_does_not_free_the_successor`, `S4::a_guard_that_expired_does_not_free_the_successor` |
//!   | Laravel: `block(1)` misses what comes free at 850 ms | `L5::a_lock_freed_shortly_before_the_deadline_is_caught` |
//!   | Laravel: the error of a time-out says nothing | `L5::the_error_says_what_is_in_the_way` |
//!   | Laravel: a closure that outlives its lease is not told | `S5::a_body_that_finishes_is_told_afterwards`, `S5::a_body_is_not_polled_once_another_has_the_name` |
//!   | Laravel, @lilith: a lock that has ended says that it is held | `S5::a_guard_is_not_held_once_another_has_the_name` |
//!
//! * `log`: what is said of a store that goes away.
//! * `lockctl`: the command line, on the locks of a service.

#[path = "../built.rs"]
mod built;
mod counting;
mod effect;
mod harness;
mod leases;
#[path = "../listening.rs"]
mod listening;
mod lockctl;
mod log;
mod photon;
mod store;

/// Makes a test of each function for each store.
macro_rules! on_every_store {
    ($($tests:tt)*) => {
        mod redis {
            on_store! { Redis $($tests)* }
        }
        mod postgres {
            on_store! { Postgres $($tests)* }
        }
        mod etcd {
            on_store! { Etcd $($tests)* }
        }
    };
}

macro_rules! on_store {
    ($store:ident $($subject:ident { $($test:ident,)+ })+) => {
        $(mod $subject {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                crate::$subject::$test(crate::store::Store::$store).await;
            })+
        })+
    };
}

on_every_store! {
    counting {
        a_process_stands_still_past_its_lease,
        connections_are_cut_in_each_phase,
        nobody_is_passed_over,
        processes_are_killed,
        requests_are_cancelled,
        the_server_is_killed_and_started_again,
        the_way_is_a_black_hole_past_the_lease,
    }
    effect {
        a_crowd_opens_no_connections,
        a_renewal_on_its_way_does_not_revive_a_released_lock,
        a_waiter_with_a_short_lease_does_not_enter_beside_a_long_one,
        thirty_two_contenders_get_fair_turns,
        two_hundred_cancelled_requests_leave_nothing_in_the_store,
        when_the_store_dies_a_release_does_not_hang,
        when_the_store_dies_the_holder_is_told_within_its_lease,
        when_the_store_is_down_an_acquire_is_an_error_and_no_body_runs,
    }
    leases {
        a_grant_out_of_the_queue_has_its_whole_lease,
        a_lease_is_not_rounded_down_to_whole_seconds,
    }
    lockctl {
        a_lock_that_a_service_holds_is_shown_and_taken_away,
        a_command_waits_for_a_service,
        a_lock_of_a_service_that_is_gone_is_taken_away,
        assignments_are_made_and_taken_back,
        commands_and_services_exclude_each_other,
    }
    log {
        a_store_that_goes_away_and_comes_back_is_told_of_once,
    }
    photon {
        a_name_in_any_script_stays_one_name_in_packets_of_a_byte,
        a_store_that_comes_back_lets_no_rival_in_beside_the_old_holder,
        two_tasks_of_one_process_do_not_both_enter,
    }
}

/// The suite has the cases that are named above.
#[test]
fn the_cases_are_there() {
    let (table, _) = include_str!("main.rs").split_once("mod built").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("//!   | "));
    let cases = lock_runtime::conformance::case_names();
    let mut named = 0;
    for name in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        if name.contains("::") {
            assert!(cases.iter().any(|case| case == name), "{name}");
            named += 1;
        }
    }
    assert!(named > 20, "the table has lost its cases");
}

//! The lock table under any sequence of requests: who is in, and what it says of that.
#![no_main]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use lock_runtime::__daemon::{
    Acquired, Ask, Code, Effects, Entry, Giver, LockName, Party, Table, TokenSource, moment,
    owner_info,
};
use lock_runtime::{CallerId, FencingToken, Mode, Moment, Owner, OwnerInfo};

#[derive(Arbitrary, Debug)]
enum Step {
    Acquire {
        owner: u8,
        name: u8,
        mode: u8,
        ttl: Option<u8>,
        wait: u8,
        at_least: u8,
        caller: Option<u8>,
    },
    Claim {
        owner: u8,
        name: u8,
    },
    Renew {
        owner: u8,
        name: u8,
        ttl: u8,
    },
    Release {
        owner: u8,
        name: u8,
        body_ran: bool,
    },
    Withdraw {
        owner: u8,
        name: u8,
    },
    Adopt {
        giver: u8,
        owner: u8,
        name: u8,
    },
    ForceRelease {
        name: u8,
    },
    Assign {
        name: u8,
        to: u8,
        ttl: Option<u8>,
    },
    Transfer {
        name: u8,
        to: u8,
    },
    Unassign {
        name: u8,
    },
    Rest {
        name: u8,
        length: u8,
    },
    Pass {
        milliseconds: u8,
    },
}

#[derive(Clone, Debug)]
struct Somebody(Owner);

impl Party for Somebody {
    fn describe(&self) -> OwnerInfo {
        owner_info(self.0.id(), ("fuzz", "here", 1), &Code::default())
    }

    fn owner(&self) -> Owner {
        self.0
    }
}

#[derive(Clone, Default)]
struct Tokens(Rc<Cell<u64>>);

impl TokenSource for Tokens {
    fn next(&self) -> FencingToken {
        self.0.set(self.0.get() + 1);
        FencingToken::new(self.0.get()).expect("a small number")
    }
}

fn milliseconds(number: u8) -> Duration {
    Duration::from_millis(u64::from(number))
}

fuzz_target!(|steps: Vec<Step>| {
    let owners: Vec<Owner> = (0..6).map(|_| Owner::random()).collect();
    let owner = |number: u8| owners[usize::from(number) % owners.len()];
    let names = ["a", "b"].map(|name| LockName::new(name).expect("a name"));
    let name = |number: u8| &names[usize::from(number) % names.len()];
    let caller = |number: u8| CallerId::new(["alice", "bob", "carol"][usize::from(number) % 3]);
    let mut table: Table<Somebody, Tokens> = Table::new(Tokens::default());
    let mut now: Moment = moment(0) + Duration::from_secs(10);
    let mut highest = 0;
    for step in steps {
        let mut effects = Effects::new();
        match step {
            Step::Acquire {
                owner: o,
                name: n,
                mode,
                ttl,
                wait,
                at_least,
                caller: c,
            } => {
                let id = c.map(caller);
                let ask = Ask {
                    name: name(n),
                    owner: owner(o),
                    mode: match mode % 3 {
                        0 => Mode::Exclusive,
                        1 => Mode::Shared,
                        _ => Mode::Permits(2.try_into().expect("not zero")),
                    },
                    ttl: ttl.map(milliseconds),
                    wait_until: (wait > 0).then(|| now + milliseconds(wait)),
                    entry: match &id {
                        None => Entry::Plain,
                        Some(id) => Entry::Caller {
                            id: Some(id),
                            must_be_assigned: false,
                        },
                    },
                    at_least: milliseconds(at_least),
                };
                let was_in = table.find(name(n), owner(o)).is_some();
                let acquired = table.acquire(now, &ask, |_| Somebody(owner(o)), &mut effects);
                if let Ok(Acquired::Granted { token: Some(token) }) = acquired
                    && !was_in
                {
                    assert!(token.get() > highest, "tokens rise");
                    highest = token.get();
                }
            }
            Step::Claim { owner: o, name: n } => {
                let _ = table.claim(now, name(n), owner(o), &mut effects);
            }
            Step::Renew {
                owner: o,
                name: n,
                ttl,
            } => {
                let _ = table.renew(
                    now,
                    name(n),
                    owner(o),
                    Some(milliseconds(ttl)),
                    &mut effects,
                );
            }
            Step::Release {
                owner: o,
                name: n,
                body_ran,
            } => {
                let _ = table.release(|| now, name(n), owner(o), body_ran, &mut effects);
            }
            Step::Withdraw { owner: o, name: n } => {
                let _ = table.withdraw(now, name(n), owner(o), &mut effects);
            }
            Step::Adopt {
                giver,
                owner: o,
                name: n,
            } => {
                let taker = (owner(o), Somebody(owner(o)));
                if table.find(name(n), owner(o)).is_none() {
                    let _ = table.adopt(now, name(n), owner(giver), taker, None, &mut effects);
                }
            }
            Step::ForceRelease { name: n } => {
                table.force_release(now, name(n), &mut effects);
            }
            Step::Assign { name: n, to, ttl } => {
                let to = (&caller(to), ttl.map(milliseconds));
                drop(table.assign(now, name(n), to, Giver::Operator, None, &mut effects));
            }
            Step::Transfer { name: n, to } => {
                let to = caller(to);
                drop(table.transfer(now, name(n), &to, Giver::Operator, None, &mut effects));
            }
            Step::Unassign { name: n } => {
                drop(table.unassign(now, name(n), Giver::Operator, None, &mut effects));
            }
            Step::Rest { name: n, length } => {
                if table
                    .describe(now, name(n), &mut effects)
                    .sections
                    .is_empty()
                {
                    table.rest(now, name(n), Mode::Exclusive, now + milliseconds(length));
                }
            }
            Step::Pass { milliseconds: m } => {
                now = now + milliseconds(m);
                table.advance(now, &mut effects);
                assert!(
                    table.next_look().is_none_or(|look| look > now),
                    "looked at for ever"
                );
            }
        }
        for name in &names {
            let known = table.describe(now, name, &mut effects);
            let of = |mode| known.sections.iter().filter(|s| s.mode == mode).count();
            let all = known.sections.len();
            let permits = Mode::Permits(2.try_into().expect("not zero"));
            assert!(of(Mode::Exclusive) == 0 || all == 1, "{known:?}");
            assert!(
                of(Mode::Shared) == 0 || of(Mode::Shared) == all,
                "{known:?}"
            );
            assert!(
                of(permits) == 0 || (all <= 2 && of(permits) == all),
                "{known:?}"
            );
            let tokens = known.sections.iter().filter(|s| s.token.is_some()).count();
            assert_eq!(tokens, of(Mode::Exclusive));
        }
    }
    // When every lease, rest, wait and assignment is over, nothing is left.
    let mut effects = Effects::new();
    for name in &names {
        table.force_release(now, name, &mut effects);
        drop(table.unassign(now, name, Giver::Operator, None, &mut effects));
    }
    for round in 1..20 {
        let later = now + Duration::from_secs(round);
        table.advance(later, &mut effects);
        for name in &names {
            table.force_release(later, name, &mut effects);
        }
    }
    assert_eq!(table.names().count(), 0, "something is left");
});

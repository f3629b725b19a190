//! Locks that belong to somebody. What was seen of another daemon, and is not to be seen of this
//! one, with its number.

use serde_json::{Value, json};

use crate::client::{Client, eventually};
use crate::eye::Eye;
use crate::process::Process;
use crate::program::Daemon;
use crate::worker::{Order, Settings, Worker};

const TURN: &str = "turn:7";

fn workers<const N: usize>(daemon: &Daemon) -> [Process<Worker>; N] {
    let settings = Settings::new(daemon.url());
    [(); N].map(|()| Process::ready(&settings))
}

fn alice() -> Option<String> {
    Some("alice".to_owned())
}

fn bob() -> Option<String> {
    Some("bob".to_owned())
}

impl Process<Worker> {
    /// Makes a move in the game, and passes the turn on to `next` from inside.
    fn moves(&self, call: u32, caller: Option<String>, next: Option<String>) {
        self.order(&Order::Move {
            call,
            game: 7,
            caller,
            next,
        });
    }

    #[track_caller]
    fn assigns(&self, ttl_ms: Option<u64>) {
        let assigned = self.tries(&Order::Assign {
            name: TURN.to_owned(),
            to: "alice".to_owned(),
            ttl_ms,
        });
        assigned.expect("nobody else has it");
    }

    /// Transfers the turn to bob, as this caller, on the word of another.
    fn transfers(&self, caller: &str, from: Option<String>) -> Result<(), String> {
        let result = self.tries(&Order::Transfer {
            name: TURN.to_owned(),
            to: "bob".to_owned(),
            caller: caller.to_owned(),
            from,
        });
        result.map_err(|trouble| trouble.kind)
    }

    fn unassigns(&self, caller: &str, of: Option<String>) -> Result<(), String> {
        let result = self.tries(&Order::Unassign {
            name: TURN.to_owned(),
            caller: caller.to_owned(),
            of,
        });
        result.map_err(|trouble| trouble.kind)
    }
}

// 3: the check was never made: bob moved while alice held the turn, and the anonymous too.
#[test]
fn only_the_holder_of_the_turn_moves() {
    let daemon = Daemon::start();
    let [table, one, other] = workers(&daemon);
    table.assigns(None);
    one.moves(1, bob(), None);
    let trouble = one.failed(1);
    assert_eq!(trouble.kind, "NotYourTurn");
    assert!(trouble.text.starts_with("Not your turn"), "{trouble:?}");
    one.moves(2, None, None);
    assert_eq!(one.failed(2).kind, "Unauthenticated");
    other.moves(1, alice(), None);
    other.holds(1);
    // Neither while she moves: he is not even queued.
    one.moves(3, bob(), None);
    assert_eq!(one.failed(3).kind, "NotYourTurn");
    other.finishes(1);
    // With the turn free, the anonymous are still not let in.
    assert_eq!(table.unassigns("alice", None), Ok(()));
    one.moves(4, None, None);
    assert_eq!(one.failed(4).kind, "Unauthenticated");
    Eye::on(daemon.socket()).until_nothing_is_left();
}

// 4: the check came first and the move later: two moves of the holder overlapped.
#[test]
fn two_moves_of_the_holder_do_not_overlap() {
    let daemon = Daemon::start();
    let [table, one, other] = workers(&daemon);
    table.assigns(None);
    one.moves(1, alice(), None);
    let (token, _) = one.holds(1);
    other.moves(1, alice(), None);
    Eye::on(daemon.socket()).until_waiting(TURN, 1);
    assert!(!other.has_news_of(1));
    one.finishes(1);
    assert!(other.holds(1).0 > token);
    other.finishes(1);
}

// 4: the holder changed between the check and the move.
#[test]
fn a_move_that_waits_is_refused_when_the_turn_goes_to_another() {
    let daemon = Daemon::start();
    let [table, one, other, third] = workers(&daemon);
    let mut eye = Eye::on(daemon.socket());
    table.assigns(None);
    one.moves(1, alice(), None);
    one.holds(1);
    other.moves(1, alice(), bob());
    eye.until_waiting(TURN, 1);
    third.moves(1, alice(), None);
    eye.until_waiting(TURN, 2);
    one.finishes(1);
    // This one passes the turn on, and is still inside.
    other.holds(1);
    assert_eq!(third.failed(1).kind, "NotYourTurn");
    one.moves(2, bob(), None);
    eye.until_waiting(TURN, 1);
    assert!(!one.has_news_of(2), "the move before his has not ended");
    other.finishes(1);
    one.holds(2);
    one.finishes(2);
}

// 5: a turn lapsed after 30 s, and every transfer made it 30 s; then anybody could move.
#[test]
fn a_turn_does_not_end_by_itself_nor_with_a_process_nor_with_the_daemon() {
    let mut daemon = Daemon::start();
    let [table, one] = workers(&daemon);
    table.assigns(None);
    assert_eq!(one.sees(TURN), (alice(), false));
    assert_eq!(table.transfers("alice", None), Ok(()));
    assert_eq!(one.sees(TURN), (bob(), false));
    table.kill();
    table.is_dead();
    assert_eq!(one.sees(TURN), (bob(), false));
    daemon.kill();
    daemon.start_again();
    assert_eq!(one.sees(TURN), (bob(), false));
    one.moves(1, alice(), None);
    assert_eq!(one.failed(1).kind, "NotYourTurn");
}

// 5: a turn with an end keeps it, and one without is not given one.
#[test]
fn a_turn_ends_when_it_was_said_to_and_then_it_is_not_listed() {
    let daemon = Daemon::start();
    let [table, one] = workers(&daemon);
    table.assigns(Some(1_500));
    assert_eq!(one.sees(TURN), (alice(), true));
    assert_eq!(table.transfers("alice", None), Ok(()));
    assert_eq!(one.sees(TURN), (bob(), true));
    eventually("it has ended", || one.sees(TURN) == (None, false));
    assert_eq!(Eye::on(daemon.socket()).list(), Vec::<Value>::new());
}

// 6: whoever was named was believed, by transfer and by release.
#[test]
fn nobody_speaks_for_the_holder() {
    let daemon = Daemon::start();
    let [table, one] = workers(&daemon);
    table.assigns(None);
    let refused = Err("NotYourTurn".to_owned());
    assert_eq!(one.transfers("bob", None), refused);
    assert_eq!(one.unassigns("bob", None), refused);
    // Nor by saying that it is somebody else.
    assert!(one.transfers("bob", alice()).is_err());
    assert!(one.unassigns("bob", alice()).is_err());
    assert_eq!(one.sees(TURN), (alice(), false));
    assert_eq!(table.transfers("alice", alice()), Ok(()));
    assert_eq!(one.unassigns("bob", bob()), Ok(()));
    assert_eq!(one.sees(TURN), (None, false));
}

// 6: a transfer to nobody made a lock that nobody held and nobody could take.
#[test]
fn a_turn_is_not_transferred_to_nobody() {
    let daemon = Daemon::start();
    let [table] = workers(&daemon);
    table.assigns(None);
    let mut client = Client::greeted(daemon.socket());
    for to in [None, Some(json!(null)), Some(json!(""))] {
        let mut transfer = json!({
            "id": 1,
            "attempt": "0123456789abcdef0123456789abcdef",
            "name": TURN,
            "by": {"caller": "alice"},
        });
        if let Some(to) = &to {
            transfer["to"] = to.clone();
        }
        client.say(&json!({"transfer": transfer}));
        let refused = client.hear();
        assert!(refused["error"]["message"].is_string(), "{to:?}: {refused}");
        assert_eq!(table.sees(TURN), (alice(), false));
    }
    let nobody = table.tries(&Order::Transfer {
        name: TURN.to_owned(),
        to: String::new(),
        caller: "alice".to_owned(),
        from: None,
    });
    nobody.expect_err("that is nobody");
    assert_eq!(table.sees(TURN), (alice(), false));
}

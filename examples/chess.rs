//! Chess: the lock on a game belongs to the player whose turn it is.
//!
//! Watch: both players send moves as fast as they can, all at once. Whoever is not on turn is
//! told so at once and nothing moves; every move hands the turn over in its own body. Somebody
//! who did not say who they are may not move. Spectators read all the while, without any lock.
//!
//! With `LOCK_URL` the turns are kept where it says, and each process plays a game of its own:
//! `LOCK_URL=unix:/run/lockd/lockd.sock cargo run -p examples --example chess`
//!
//! `cargo run -p examples --example chess`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{
    Caller, CallerId, LockError, LockManager, acquire_lock, auth, get_lock, lock_name, locked,
    release_lock, set_lock_manager, transfer_lock,
};
use tokio::task::JoinSet;

const MOVES: usize = 30;

#[derive(Debug)]
enum ChessError {
    GameFull,
    GameOver,
    Lock(LockError),
}

impl From<LockError> for ChessError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

#[derive(Clone, Default)]
struct Position {
    players: Vec<CallerId>,
    /// Who made each move.
    moves: Vec<CallerId>,
}

impl Position {
    fn next_player(&self) -> CallerId {
        self.players[self.moves.len() % 2].clone()
    }
}

struct Chess {
    id: u32,
    position: Mutex<Position>,
}

// `#[auth]` makes the locks in here belong to callers: whoever holds `turn:7` may move in game 7.
#[auth]
impl Chess {
    /// Takes a seat. When both are taken, the turn is white's.
    #[auth]
    async fn join(&self) -> Result<&'static str, ChessError> {
        let caller = Caller::current().expect("`#[auth]` lets nobody in without one");
        let players = {
            let mut position = self.position.lock().unwrap();
            if position.players.len() == 2 {
                return Err(ChessError::GameFull);
            }
            position.players.push(caller.id().clone());
            position.players.clone()
        };
        let [white, _black] = players.as_slice() else {
            return Ok("white");
        };
        acquire_lock(lock_name!("turn:{self.id}"), white).await?;
        Ok("black")
    }

    /// Moves a piece, and hands the turn over. Only the caller whose turn it is gets in.
    #[locked("turn:{self.id}")]
    async fn move_piece(&self, from: &str, to: &str) -> Result<Position, ChessError> {
        if self.position.lock().unwrap().moves.len() == MOVES {
            return Err(ChessError::GameOver);
        }
        think(from, to).await;
        let position = {
            let mut position = self.position.lock().unwrap();
            let caller = Caller::current().expect("the holder of the turn");
            position.moves.push(caller.id().clone());
            position.clone()
        };
        let next = position.next_player();
        transfer_lock(lock_name!("turn:{self.id}"), next).await?;
        Ok(position)
    }

    /// Gives the turn back without a move: the game is no longer in play.
    #[locked("turn:{self.id}")]
    async fn resign(&self) -> Result<(), ChessError> {
        Ok(release_lock(lock_name!("turn:{self.id}")).await?)
    }

    /// Anybody may look.
    fn board(&self) -> Position {
        self.position.lock().unwrap().clone()
    }
}

async fn think(_from: &str, _to: &str) {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Sends moves until the game is over. Returns how many were made, and how many out of turn.
async fn play(chess: Arc<Chess>) -> Result<(usize, usize), LockError> {
    let (mut made, mut out_of_turn) = (0, 0);
    loop {
        match chess.move_piece("e2", "e4").await {
            Ok(_) => made += 1,
            Err(ChessError::Lock(error)) if error.is_not_your_turn() => {
                if chess.board().moves.len() == MOVES {
                    return Ok((made, out_of_turn));
                }
                out_of_turn += 1;
                tokio::task::yield_now().await;
            }
            Err(ChessError::GameOver | ChessError::GameFull) => return Ok((made, out_of_turn)),
            Err(ChessError::Lock(error)) => return Err(error),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), ChessError> {
    let manager = LockManager::from_env().await?;
    // The positions are in this process. Where others keep their turns too, its game is another.
    let id = manager.as_ref().map_or(7, |_| std::process::id());
    set_lock_manager(manager.unwrap_or_else(LockManager::memory))?;
    let chess = Arc::new(Chess {
        id,
        position: Mutex::default(),
    });
    // In a service, the middleware makes one of each request.
    let (ann, bob) = (Caller::new("ann"), Caller::new("bob"));
    println!("ann joins as {}.", ann.clone().scope(chess.join()).await?);
    println!("bob joins as {}.", bob.clone().scope(chess.join()).await?);
    let third = Caller::new("carl").scope(chess.join()).await;
    assert!(matches!(third, Err(ChessError::GameFull)));

    let early = bob.clone().scope(chess.move_piece("e7", "e5")).await;
    println!("bob moves first: {}.", refusal(early));
    let nobody = chess.move_piece("e2", "e4").await;
    println!("Somebody unknown moves: {}.", refusal(nobody));
    let stranger = Caller::anonymous().scope(chess.move_piece("e2", "e4"));
    assert!(refusal(stranger.await).starts_with("Unauthenticated"));

    // Each player has two boards open, and uses both.
    let mut players = JoinSet::new();
    for player in [&ann, &bob, &ann, &bob] {
        players.spawn(player.clone().scope(play(Arc::clone(&chess))));
    }
    let spectator = tokio::spawn({
        let chess = Arc::clone(&chess);
        async move {
            while chess.board().moves.len() < MOVES {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let (mut made, mut out_of_turn) = (0, 0);
    for played in players.join_all().await {
        let (moves, refused) = played?;
        made += moves;
        out_of_turn += refused;
    }
    spectator.await.expect("looking never fails");
    println!("{made} moves, {out_of_turn} attempts out of turn.");

    let position = chess.board();
    assert_eq!((made, position.moves.len()), (MOVES, MOVES));
    assert!(out_of_turn > 0, "they did not wait politely");
    let strictly_alternating = position
        .moves
        .iter()
        .zip(["ann", "bob"].iter().cycle())
        .all(|(mover, expected)| mover.as_str() == *expected);
    assert!(strictly_alternating, "nobody moved twice in a row");

    let turn = get_lock(lock_name!("turn:{chess.id}")).await?;
    assert_eq!(turn.holder, Some(position.next_player()));
    ann.scope(chess.resign()).await?;
    let turn = get_lock(lock_name!("turn:{chess.id}")).await?;
    assert_eq!(turn.holder, None);
    println!("ann resigns, and the turn is nobody's.");
    Ok(())
}

fn refusal<T>(result: Result<T, ChessError>) -> String {
    match result {
        Err(ChessError::Lock(error)) => error.to_string(),
        _ => panic!("it should have been refused"),
    }
}

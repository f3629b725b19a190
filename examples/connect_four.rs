//! Connect four, played by a crowd: everybody drops pieces at the same time.
//!
//! Watch: a drop looks for the lowest empty row of a column and then puts the piece there. The
//! lock is on the column: two pieces of one column never land in the same row, and a drop into
//! another column does not wait.
//!
//! With `LOCK_URL` the locks live where it says, and other processes wait for the same columns:
//! `LOCK_URL=unix:/run/lockd/lockd.sock cargo run -p examples --example connect_four`
//!
//! `cargo run -p examples --example connect_four`

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, lock_name, locked, set_lock_manager, with_lock};
use tokio::task::JoinSet;

const COLUMNS: usize = 7;
const ROWS: usize = 6;
const DROPS_PER_COLUMN: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    row: usize,
    column: usize,
}

#[derive(Debug)]
enum DropError {
    ColumnFull,
    Lock(LockError),
}

impl From<LockError> for DropError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

type Grid = [[Option<char>; COLUMNS]; ROWS];

#[derive(Default)]
struct Game {
    grid: Mutex<Grid>,
    /// How often a piece was put where one lay already.
    overwritten: Mutex<usize>,
}

impl Game {
    /// Drops a piece into a column.
    #[locked("board:column:{column}")]
    async fn drop_piece(&self, column: usize, player: char) -> Result<Place, DropError> {
        let empty = |row: &usize| self.grid.lock().unwrap()[*row][column].is_none();
        let row = (0..ROWS).find(empty).ok_or(DropError::ColumnFull)?;
        // The piece falls. Somebody else may look at the column now, if nothing stops them.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let before = self.grid.lock().unwrap()[row][column].replace(player);
        if before.is_some() {
            *self.overwritten.lock().unwrap() += 1;
        }
        Ok(Place { row, column })
    }

    /// The same lock in code: `lock_name!` makes the name that the annotation makes.
    async fn clear_column(&self, column: usize) -> Result<(), LockError> {
        with_lock(lock_name!("board:column:{column}"), || async {
            for row in &mut *self.grid.lock().unwrap() {
                row[column] = None;
            }
        })
        .await
    }
}

impl fmt::Display for Game {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.grid.lock().unwrap().iter().rev() {
            let line: Vec<String> = row
                .iter()
                .map(|piece| piece.unwrap_or('.').to_string())
                .collect();
            writeln!(f, "  {}", line.join(" "))?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let manager = LockManager::from_env().await?;
    set_lock_manager(manager.unwrap_or_else(LockManager::memory))?;
    let game = Arc::new(Game::default());
    let mut crowd = JoinSet::new();
    for number in 0..COLUMNS * DROPS_PER_COLUMN {
        let (game, player) = (Arc::clone(&game), ['x', 'o'][number % 2]);
        crowd.spawn(async move { game.drop_piece(number % COLUMNS, player).await });
    }
    let (mut places, mut refused) = (Vec::new(), 0);
    for dropped in crowd.join_all().await {
        match dropped {
            Ok(place) => places.push(place),
            Err(DropError::ColumnFull) => refused += 1,
            Err(DropError::Lock(error)) => return Err(error),
        }
    }
    print!("{game}");
    let overwritten = *game.overwritten.lock().unwrap();
    println!(
        "{} pieces landed, {refused} found their column full, {overwritten} landed on another.",
        places.len()
    );
    assert_eq!(places.len(), COLUMNS * ROWS);
    assert_eq!(refused, COLUMNS * (DROPS_PER_COLUMN - ROWS));
    assert_eq!(overwritten, 0);
    places.sort_by_key(|place| (place.column, place.row));
    places.dedup();
    assert_eq!(places.len(), COLUMNS * ROWS, "every place is taken once");

    game.clear_column(3).await?;
    let place = game.drop_piece(3, 'x').await.expect("the column is empty");
    assert_eq!(place, Place { row: 0, column: 3 });
    println!("Column 3 was cleared, and takes pieces again.");
    Ok(())
}

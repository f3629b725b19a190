//! A kanban board: moving a task loads it, changes it and saves it, with the database in between.
//!
//! Watch: the same moves are made twice. First no lock manager is set, the annotation does
//! nothing, and moves that meet overwrite each other. Then one is set, and every move counts.
//!
//! `cargo run -p examples --example kanban`

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, locked, set_lock_manager, set_lock_manager_late};
use tokio::task::JoinSet;

const TASKS: u64 = 4;
const MOVES_OF_EACH: usize = 25;

#[derive(Clone, Debug, Default)]
struct Task {
    column: String,
    moves: usize,
}

#[derive(Debug)]
enum BoardError {
    Lock(LockError),
    NoSuchTask(u64),
}

// This is all that `#[locked]` needs of an error type.
impl From<LockError> for BoardError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(error) => error.fmt(f),
            Self::NoSuchTask(task_id) => write!(f, "there is no task {task_id}"),
        }
    }
}

impl std::error::Error for BoardError {}

#[derive(Default)]
struct Board {
    database: Mutex<HashMap<u64, Task>>,
}

impl Board {
    /// Moves a task to a column. Two tasks move at the same time; the same task does not.
    #[locked("task:{task_id}")]
    async fn move_task(&self, task_id: u64, column: &str) -> Result<Task, BoardError> {
        let mut task = self.load(task_id).await?;
        task.column = column.to_owned();
        task.moves += 1;
        self.save(task_id, task.clone()).await;
        Ok(task)
    }

    async fn load(&self, task_id: u64) -> Result<Task, BoardError> {
        round_trip().await;
        let task = self.database.lock().unwrap().get(&task_id).cloned();
        task.ok_or(BoardError::NoSuchTask(task_id))
    }

    async fn save(&self, task_id: u64, task: Task) {
        round_trip().await;
        self.database.lock().unwrap().insert(task_id, task);
    }
}

/// The way to the database and back.
async fn round_trip() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Many people move the same few tasks at once. Returns how many moves the board remembers.
async fn rush_hour() -> usize {
    let board = Arc::new(Board::default());
    for task_id in 0..TASKS {
        board.save(task_id, Task::default()).await;
    }
    let mut people = JoinSet::new();
    for task_id in 0..TASKS {
        for number in 0..MOVES_OF_EACH {
            let board = Arc::clone(&board);
            let column = ["to do", "doing", "done"][number % 3];
            people.spawn(async move { board.move_task(task_id, column).await });
        }
    }
    for moved in people.join_all().await {
        moved.expect("every move is made");
    }
    let tasks = board.database.lock().unwrap();
    tasks.values().map(|task| task.moves).sum()
}

#[tokio::main]
async fn main() -> Result<(), BoardError> {
    let made = TASKS as usize * MOVES_OF_EACH;
    println!("{made} moves of {TASKS} tasks, all at once.");

    let remembered = rush_hour().await;
    let lost = made - remembered;
    println!("Without a lock manager: {remembered} remembered, {lost} lost.");
    assert!(lost > 0, "moves that overlap overwrite each other");

    // A service sets its manager first thing in `main`. Setting it now is refused, because half
    // of the service has run without locks; this program means it, and says so.
    let refused = set_lock_manager(LockManager::memory());
    assert!(refused.is_err(), "a late manager has to be called late");
    set_lock_manager_late(LockManager::memory())?;

    let remembered = rush_hour().await;
    let lost = made - remembered;
    println!("With a lock manager:    {remembered} remembered, {lost} lost.");
    assert_eq!(lost, 0);

    let missing = Board::default().move_task(99, "done").await;
    assert!(matches!(missing, Err(BoardError::NoSuchTask(99))));
    Ok(())
}

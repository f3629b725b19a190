//! A kanban board: moving a task loads it, changes it and saves it, with the database in between.
//!
//! Watch: the same moves are made twice. First no lock manager is set, the annotation does
//! nothing, and moves that meet overwrite each other. Then one is set, and every move counts.
//!
//! `cargo run -p examples --example kanban`
//!
//! With `LOCK_URL` the locks live where it says, and the board in a folder that other processes
//! see: `$KANBAN_BOARD`, or `kanban-board` in the folder for temporary files. It then plays
//! `$KANBAN_ROUNDS` (10) rounds, which take some seconds. Start it in two terminals:
//!
//! `LOCK_URL=unix:/run/lockd/lockd.sock cargo run -p examples --example kanban`

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, locked, set_lock_manager, set_lock_manager_late};
use tokio::task::JoinSet;

const TASKS: u64 = 4;
const MOVES_OF_EACH: usize = 25;

#[derive(Clone, Debug, Default)]
struct Task {
    column: String,
    /// The number of the process that made each move.
    moves: Vec<u32>,
}

#[derive(Debug)]
enum BoardError {
    Lock(LockError),
    NoSuchTask(u64),
    Database(io::Error),
}

// This is all that `#[locked]` needs of an error type.
impl From<LockError> for BoardError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl From<io::Error> for BoardError {
    fn from(error: io::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(error) => error.fmt(f),
            Self::NoSuchTask(task_id) => write!(f, "there is no task {task_id}"),
            Self::Database(error) => write!(f, "the board cannot be used: {error}"),
        }
    }
}

impl std::error::Error for BoardError {}

struct Board {
    database: Database,
}

impl Board {
    /// Moves a task to a column. Two tasks move at the same time; the same task does not.
    #[locked("task:{task_id}")]
    async fn move_task(&self, task_id: u64, column: &str) -> Result<Task, BoardError> {
        let mut task = self.load(task_id).await?;
        task.column = column.to_owned();
        task.moves.push(std::process::id());
        self.save(task_id, task.clone()).await?;
        Ok(task)
    }

    /// Puts the tasks on the board that are not there yet.
    async fn add_tasks(&self) -> Result<(), BoardError> {
        for task_id in 0..TASKS {
            self.add_task(task_id).await?;
        }
        Ok(())
    }

    #[locked("task:{task_id}")]
    async fn add_task(&self, task_id: u64) -> Result<(), BoardError> {
        match self.load(task_id).await {
            Err(BoardError::NoSuchTask(_)) => self.save(task_id, Task::default()).await,
            loaded => loaded.map(drop),
        }
    }

    async fn load(&self, task_id: u64) -> Result<Task, BoardError> {
        self.database.round_trip().await;
        let task = self.database.read(task_id)?;
        task.ok_or(BoardError::NoSuchTask(task_id))
    }

    async fn save(&self, task_id: u64, task: Task) -> Result<(), BoardError> {
        self.database.round_trip().await;
        Ok(self.database.write(task_id, task)?)
    }

    /// How many moves of this process the board remembers, and how many of others.
    fn moves(&self) -> Result<(usize, usize), BoardError> {
        let (mut own, mut others) = (0, 0);
        for task_id in 0..TASKS {
            let task = self.database.read(task_id)?;
            let moves = task.ok_or(BoardError::NoSuchTask(task_id))?.moves;
            let mine = moves.iter().filter(|who| **who == std::process::id());
            let mine = mine.count();
            own += mine;
            others += moves.len() - mine;
        }
        Ok((own, others))
    }
}

/// Where the tasks are.
enum Database {
    /// In this process.
    Memory(Mutex<HashMap<u64, Task>>),
    /// In a folder, for all processes: one file for each task.
    Folder(PathBuf),
}

impl Database {
    /// The way there and back.
    async fn round_trip(&self) {
        let far = match self {
            Self::Memory(_) => 1,
            Self::Folder(_) => 10,
        };
        tokio::time::sleep(Duration::from_millis(far)).await;
    }

    fn read(&self, task_id: u64) -> io::Result<Option<Task>> {
        let folder = match self {
            Self::Memory(tasks) => return Ok(tasks.lock().unwrap().get(&task_id).cloned()),
            Self::Folder(folder) => folder,
        };
        let text = match fs::read_to_string(folder.join(format!("task-{task_id}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let (column, moves) = text.split_once('\n').unwrap_or_default();
        let moves: Result<_, _> = moves.lines().map(str::parse).collect();
        Ok(Some(Task {
            column: column.to_owned(),
            moves: moves.map_err(io::Error::other)?,
        }))
    }

    fn write(&self, task_id: u64, task: Task) -> io::Result<()> {
        let folder = match self {
            Self::Memory(tasks) => {
                tasks.lock().unwrap().insert(task_id, task);
                return Ok(());
            }
            Self::Folder(folder) => folder,
        };
        let moves: String = task.moves.iter().map(|who| format!("{who}\n")).collect();
        // Whoever reads finds all of the old one or all of the new one.
        let new = folder.join(format!("task-{task_id}.new-{}", std::process::id()));
        fs::write(&new, format!("{}\n{moves}", task.column))?;
        fs::rename(new, folder.join(format!("task-{task_id}")))
    }
}

/// Many people move the same few tasks at once.
async fn rush_hour(board: &Arc<Board>) -> Result<(), BoardError> {
    let mut people = JoinSet::new();
    for task_id in 0..TASKS {
        for number in 0..MOVES_OF_EACH {
            let board = Arc::clone(board);
            let column = ["to do", "doing", "done"][number % 3];
            people.spawn(async move { board.move_task(task_id, column).await });
        }
    }
    for moved in people.join_all().await {
        moved?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoardError> {
    let made = TASKS as usize * MOVES_OF_EACH;
    println!("{made} moves of {TASKS} tasks, all at once.");

    let board = in_memory();
    board.add_tasks().await?;
    rush_hour(&board).await?;
    let (remembered, _) = board.moves()?;
    let lost = made - remembered;
    println!("Without a lock manager: {remembered} remembered, {lost} lost.");
    assert!(lost > 0, "moves that overlap overwrite each other");

    // A service sets its manager first thing in `main`. Setting it now is refused, because half
    // of the service has run without locks; this program means it, and says so.
    let refused = set_lock_manager(LockManager::memory());
    assert!(refused.is_err(), "a late manager has to be called late");
    let (manager, board, rounds) = match LockManager::from_env().await? {
        Some(manager) => (manager, in_folder()?, rounds()),
        None => (LockManager::memory(), in_memory(), 1),
    };
    set_lock_manager_late(manager)?;

    board.add_tasks().await?;
    let before = board.moves()?;
    let (mut remembered, mut by_others) = (0, 0);
    for round in 1..=rounds {
        rush_hour(&board).await?;
        let (own, others) = board.moves()?;
        // Fewer than before, when somebody without the lock has overwritten them.
        remembered = own.saturating_sub(before.0);
        by_others = others.saturating_sub(before.1);
        if let Database::Folder(_) = board.database {
            println!("Round {round}: {remembered} moves, and {by_others} of other processes.");
        }
    }
    let lost = rounds * made - remembered;
    println!("With a lock manager:    {remembered} remembered, {lost} lost.");
    assert_eq!(lost, 0);
    if by_others > 0 {
        println!("Other processes made {by_others} moves of the same tasks meanwhile.");
    }

    let missing = board.move_task(99, "done").await;
    assert!(matches!(missing, Err(BoardError::NoSuchTask(99))));
    Ok(())
}

fn in_memory() -> Arc<Board> {
    let database = Database::Memory(Mutex::default());
    Arc::new(Board { database })
}

fn in_folder() -> Result<Arc<Board>, BoardError> {
    let folder = match std::env::var_os("KANBAN_BOARD") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join("kanban-board"),
    };
    fs::create_dir_all(&folder)?;
    println!("The board is in {}.", folder.display());
    let database = Database::Folder(folder);
    Ok(Arc::new(Board { database }))
}

fn rounds() -> usize {
    let rounds = std::env::var("KANBAN_ROUNDS");
    rounds.map_or(10, |rounds| {
        rounds.parse().expect("KANBAN_ROUNDS is a number")
    })
}

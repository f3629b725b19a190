//! The attributes of `lock-runtime`. Depend on that crate, which exports them again.
//!
//! An annotation goes through three phases, each in a module of its own: what it says
//! (`options`, `template`) and what it stands on (`function`) are read, `check` holds the two
//! against each other and reports everything that is wrong, and `expand` makes the code.

mod auth;
mod caret;
mod check;
mod duration;
mod expand;
mod function;
mod hint;
mod lock_name;
mod locked;
mod options;
mod paths;
mod problems;
mod template;

use proc_macro::TokenStream;

/// Runs a function under a lock.
///
/// ```
/// # use lock_runtime::{LockError, locked};
/// # type Task = u64;
/// struct Board;
///
/// impl Board {
///     /// Moves a task to a column. Nobody else moves the same task meanwhile.
///     #[locked("task:{task_id}")]
///     async fn move_task(&self, task_id: u64, column: &str) -> Result<Task, LockError> {
///         # let _ = column;
///         Ok(task_id)
///     }
/// }
/// ```
///
/// The body runs only inside its section: when the lock is busy for longer than the caller
/// waits, or when the locks cannot be reached, the function returns an error and the body has
/// not started. Without a lock manager the body runs straight through.
///
/// # The name
///
/// Text and placeholders. `{x}` and `<x>` are the same, and `{{`, `}}`, `<<`, `>>` are the
/// characters themselves. Two placeholders need a `:`, `/` or `#` between them; values are
/// encoded, so that they cannot contain any of these.
///
/// | annotation | lock |
/// |---|---|
/// | `#[locked("task:{task_id}")]` | one per value of a parameter |
/// | `#[locked("order:{params.order.id}:{self.tenant()}")]` | fields, methods and indices of parameters and `self` |
/// | `#[locked("shard:{n:03}")]` | formatted as `format!` does, but never cut off |
/// | `#[locked("shard:{kind}", kind = self.kind().as_str())]` | any expression, as a named argument |
/// | `#[locked]` | on a free function: its own path |
/// | `#[locked("acct:{from}", "acct:{to}")]` | several, all or nothing, in an order that cannot deadlock |
///
/// The name is made once, before anything of the body. [`lock_name!`] makes the same name
/// elsewhere.
///
/// # Options
///
/// Behind the names, in any order. A duration is text like `"250ms"`, `"30s"` or `"1m 30s"`,
/// checked when it is compiled, or an expression of type `Duration`.
///
/// | option | meaning | without it |
/// |---|---|---|
/// | `wait = "5s"` | how long a caller queues, at most 24 h; `"forever"` in an `async fn` | the manager's |
/// | `try` | do not queue | |
/// | `ttl = "30s"` | the lease, from 100 ms to 24 h; renewed while the body runs | the manager's |
/// | `max_hold = "10m"` | when renewal stops, so that a hung body loses its lock | the manager's |
/// | `at_least = "10s"` | how long the name stays busy after the grant, whatever becomes of the body; needs `try` or `wait` beside it | |
/// | `shared` | any number of shared sections, or one exclusive section | exclusive |
/// | `permits = 4` | at most so many sections at a time; a number or a constant | exclusive |
/// | `reentrant` | may be entered again from inside | a nested entry is an error |
/// | `on_lost = cancel` or `finish` | drop the async body when its lock is lost, or let it end and then report | `cancel`; a sync body always ends |
/// | `on_busy = \|error\| …` | makes the return value when the lock was busy | `From<LockError>` |
/// | `on_error = \|error\| …` | makes it for every error of the lock; the return type may then be anything | `From<LockError>` |
/// | `guard = held` | binds `held: &Held` in the body | |
/// | `manager = self.locks` | a manager of your own | the global one |
/// | `auth`, `auth(…)` | what an `#[auth]` around it adds, with the arguments of [`macro@auth`] | |
/// | `crate = path` | where the runtime is, when it is renamed | `::lock_runtime` |
///
/// Expressions see the parameters. `on_error` is also asked when the lock was lost while the body
/// ran: what it uses of the parameters must then still be there, because the body has taken those
/// that it uses itself.
///
/// # The function
///
/// `async fn` and `fn`, methods and free functions, methods of traits and of their
/// implementations, also under `#[async_trait]`. A function that returns a future is taken when
/// its body is exactly one `async` block, as it is or in `Box::pin`. A `const fn` is not.
///
/// It returns a `Result<T, E>` where `E: From<LockError>`, or anything with `on_error`.
///
/// Attributes above `#[locked]` see the whole function, the waiting included; those below see
/// the body only. Above `#[tokio::test]` it locks the async body; below, a sync function.
#[proc_macro_attribute]
pub fn locked(arguments: TokenStream, item: TokenStream) -> TokenStream {
    locked::locked(arguments.into(), item.into()).into()
}

/// Makes locks belong to a caller: only who holds the lock may call.
///
/// On an `impl` block or a trait, for every [`#[locked]`](macro@locked) method in it; on a
/// method, for that one. A method that has an `auth` of its own keeps it.
///
/// ```
/// # use lock_runtime::{LockError, auth, locked};
/// struct Game;
///
/// #[auth]
/// impl Game {
///     /// Nobody has the turn yet, or the caller has it: allowed. Else: `Not your turn`.
///     #[locked("turn:{game}")]
///     async fn play(&self, game: u64, column: u8) -> Result<(), LockError> {
///         # let _ = column;
///         Ok(())
///     }
/// }
/// ```
///
/// | argument | meaning |
/// |---|---|
/// | `required` | there must be a caller; the default |
/// | `optional` | nobody needs to be known while the lock is not assigned |
/// | `assigned` | nobody may call while the lock is not assigned |
/// | `caller = self.user.id` | who calls, instead of the caller of the scope |
/// | `crate = path` | where the runtime is, when it is renamed |
///
/// On a function without `#[locked]` it requires a caller, and nothing else.
///
/// Attributes are recognised by their names, `locked` and `auth`, at whatever path; an import
/// under another name is not seen. Write `#[other_name("turn:{game}", auth)]` there.
#[proc_macro_attribute]
pub fn auth(arguments: TokenStream, item: TokenStream) -> TokenStream {
    auth::auth(arguments.into(), item.into()).into()
}

/// The very name that an annotation makes, as a `Result<LockName, LockError>`.
///
/// The template is that of [`#[locked]`](macro@locked); placeholders are variables in scope, or
/// named arguments.
///
/// ```
/// # use lock_runtime::{LockError, lock_name};
/// # fn main() -> Result<(), LockError> {
/// let game = "chess/7";
/// assert_eq!(lock_name!("turn:{game}")?.as_str(), "turn:chess%2F7");
/// assert_eq!(lock_name!("turn:{id:03}", id = 3 + 4)?.as_str(), "turn:007");
/// # Ok(()) }
/// ```
#[proc_macro]
pub fn lock_name(arguments: TokenStream) -> TokenStream {
    lock_name::lock_name(arguments.into()).into()
}

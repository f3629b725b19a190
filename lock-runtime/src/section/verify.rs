//! Tying a transaction of the user's to the section that it is made in.

use std::any::Any;

use super::Held;
use crate::backend::Backend;
use crate::backend::postgres::PostgresBackend;
use crate::error::{BackendError, LockError};

/// A transaction in the database where the locks live, to be tied to them by [`Held::verify`].
///
/// Those of `tokio_postgres` are. For another driver it takes a few lines, such as for sqlx:
///
/// ```ignore
/// struct Tied<'a, 'c>(&'a mut sqlx::Transaction<'c, sqlx::Postgres>);
///
/// impl lock_runtime::SqlTransaction for Tied<'_, '_> {
///     type Error = sqlx::Error;
///
///     async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
///         sqlx::raw_sql(sql).execute(&mut **self.0).await.map(drop)
///     }
/// }
/// ```
///
/// Let it wrap the driver's transaction, and not a connection: outside a transaction every
/// statement is one of its own, and what ties it ties nothing that comes after it.
pub trait SqlTransaction {
    /// What the driver says when a statement fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Runs a statement in the open transaction. Its rows are of no interest.
    fn run(&mut self, sql: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl SqlTransaction for tokio_postgres::Transaction<'_> {
    type Error = tokio_postgres::Error;

    async fn run(&mut self, sql: &str) -> Result<(), Self::Error> {
        self.batch_execute(sql).await
    }
}

impl Held {
    /// Ties a transaction to this section: it commits only while the section is held. Whatever
    /// becomes of this process, what it wrote in that transaction is not there when somebody else
    /// has had the lock in between.
    ///
    /// The transaction has to be in the database where the locks live, and its role needs the
    /// right to call `lock_runtime.verify`. To be called once, anywhere in the transaction; the
    /// check is made by the server when it commits, and is an error of the commit with the code
    /// `LR001`. Until then nobody waits: neither a renewal, nor who comes after the lease.
    ///
    /// It works at every isolation level. Under `REPEATABLE READ` and `SERIALIZABLE` the
    /// transaction has to begin inside the section, and a section that was lost may also show as
    /// a serialization failure, `40001`; whoever repeats the transaction then gets `LR001`. Under
    /// these two, a lease that is over refuses the commit only once somebody else has asked for
    /// the lock, which comes to the same.
    ///
    /// To be called outside of savepoints, or inside one that is not rolled back: what is rolled
    /// back to a savepoint from before the call is not tied any more.
    ///
    /// In passthrough it does nothing.
    ///
    /// # Errors
    ///
    /// When the lock is lost already, when the backend is not PostgreSQL, or when the statement
    /// fails: then the transaction is not tied, and must not commit.
    ///
    /// # Cancel safety
    ///
    /// Whether the transaction is tied is then not known: roll it back.
    ///
    /// ```no_run
    /// use lock_runtime::{BackendError, Held, LockError};
    ///
    /// async fn pay(held: &Held, database: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut transaction = database.transaction().await?;
    ///     held.verify(&mut transaction).await?;
    ///     transaction.batch_execute("UPDATE accounts SET balance = balance - 5 WHERE id = 7").await?;
    ///     transaction.commit().await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn verify<T: SqlTransaction>(&self, transaction: &mut T) -> Result<(), LockError> {
        let Some(sql) = self.verification()? else {
            return Ok(());
        };
        transaction.run(&sql).await.map_err(|error| {
            let what = format!("the transaction could not be tied to the lock: {error}");
            let failed = LockError::unavailable(BackendError::new(what).caused_by(error));
            match self.name() {
                Some(name) => failed.about(name),
                None => failed,
            }
        })
    }

    /// The statement with which [`verify`](Self::verify) ties a transaction to this section, for
    /// whoever runs it in another way; `None` in passthrough.
    ///
    /// It has to be run inside the open transaction. Outside of one it succeeds too, and ties
    /// nothing.
    ///
    /// # Errors
    ///
    /// When the lock is lost already, or when the backend is not PostgreSQL.
    pub fn verification(&self) -> Result<Option<String>, LockError> {
        let Some(backend) = self.backend() else {
            return Ok(None);
        };
        if let Some(lost) = self.loss() {
            return Err(lost);
        }
        let any: &dyn Any = backend;
        let postgres: &PostgresBackend = any.downcast_ref().ok_or_else(|| {
            LockError::unsupported(backend.name(), "`verify`: its locks are not in PostgreSQL")
        })?;
        Ok(Some(postgres.verification(self.leases())))
    }

    fn backend(&self) -> Option<&dyn Backend> {
        self.manager().map(|manager| &*manager.backend)
    }
}

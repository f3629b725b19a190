//! Bank transfers: two accounts are locked together, or neither.
//!
//! Watch: money goes in both directions between the same few accounts at once. The names are
//! taken in one order whatever order they are written in, so that `1 → 2` and `2 → 1` never wait
//! for each other for ever; a transfer from an account to itself takes its one lock once.
//!
//! `cargo run -p examples --example bank_transfer`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, locked, set_lock_manager};
use tokio::task::JoinSet;

const ACCOUNTS: usize = 4;
const OPENING_BALANCE: i64 = 100;
const TRANSFERS: usize = 200;

#[derive(Debug)]
enum BankError {
    Lock(LockError),
    NotEnough { account: usize, balance: i64 },
}

impl From<LockError> for BankError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

struct Bank {
    balances: Mutex<Vec<i64>>,
}

impl Bank {
    #[locked("account:{from}", "account:{to}")]
    async fn transfer(&self, from: usize, to: usize, amount: i64) -> Result<(), BankError> {
        let balance = self.balance(from).await;
        if balance < amount {
            return Err(BankError::NotEnough {
                account: from,
                balance,
            });
        }
        self.set_balance(from, balance - amount).await;
        let balance = self.balance(to).await;
        self.set_balance(to, balance + amount).await;
        Ok(())
    }

    async fn balance(&self, account: usize) -> i64 {
        tokio::task::yield_now().await;
        self.balances.lock().unwrap()[account]
    }

    async fn set_balance(&self, account: usize, balance: i64) {
        tokio::time::sleep(Duration::from_micros(100)).await;
        self.balances.lock().unwrap()[account] = balance;
    }
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    set_lock_manager(LockManager::memory())?;
    let bank = Arc::new(Bank {
        balances: Mutex::new(vec![OPENING_BALANCE; ACCOUNTS]),
    });
    let mut transfers = JoinSet::new();
    for number in 0..TRANSFERS {
        let bank = Arc::clone(&bank);
        let (from, to) = (number % ACCOUNTS, number / ACCOUNTS % ACCOUNTS);
        let amount = 1 + (number % 37) as i64;
        transfers.spawn(async move { bank.transfer(from, to, amount).await });
    }
    let (mut done, mut refused) = (0, 0);
    for transferred in transfers.join_all().await {
        match transferred {
            Ok(()) => done += 1,
            Err(BankError::NotEnough { account, balance }) => {
                assert!(account < ACCOUNTS && balance >= 0);
                refused += 1;
            }
            Err(BankError::Lock(error)) => return Err(error),
        }
    }
    let balances = bank.balances.lock().unwrap().clone();
    let total: i64 = balances.iter().sum();
    println!("{done} transfers, {refused} refused for want of money.");
    println!("Balances {balances:?}, {total} in total, as in the beginning.");
    assert_eq!(done + refused, TRANSFERS);
    assert_eq!(total, OPENING_BALANCE * ACCOUNTS as i64);
    assert!(balances.iter().all(|balance| *balance >= 0));
    Ok(())
}

//! Payments: a customer who clicks "pay" five times must be charged once.
//!
//! Watch: every click asks whether the order is paid, charges the card, and notes that it is
//! paid. Without a lock manager all clicks ask before the first one notes anything. With one, the
//! clicks of one order come one after the other, while other orders are paid at the same time.
//!
//! `cargo run -p examples --example payments`

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, locked, set_lock_manager_late};
use tokio::task::JoinSet;

const ORDERS: [&str; 3] = ["A-17", "B-4", "C-128"];
const CLICKS: usize = 5;

#[derive(Default)]
struct Payments {
    paid: Mutex<HashSet<String>>,
    charges: AtomicUsize,
    at_the_gateway: AtomicUsize,
    most_at_the_gateway: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receipt {
    Charged,
    WasPaidAlready,
}

impl Payments {
    /// Charges the card for an order, once. Each order has a lock of its own.
    #[locked("payment:{order_id}")]
    async fn process_payment(&self, order_id: &str) -> Result<Receipt, LockError> {
        if self.paid.lock().unwrap().contains(order_id) {
            return Ok(Receipt::WasPaidAlready);
        }
        self.charge_card().await;
        self.paid.lock().unwrap().insert(order_id.to_owned());
        Ok(Receipt::Charged)
    }

    async fn charge_card(&self) {
        let now = self.at_the_gateway.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_the_gateway.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.at_the_gateway.fetch_sub(1, Ordering::SeqCst);
        self.charges.fetch_add(1, Ordering::SeqCst);
    }
}

/// Every customer clicks several times at once.
async fn impatient_customers() -> Result<Arc<Payments>, LockError> {
    let payments = Arc::new(Payments::default());
    let mut clicks = JoinSet::new();
    for order_id in ORDERS {
        for _ in 0..CLICKS {
            let payments = Arc::clone(&payments);
            clicks.spawn(async move { payments.process_payment(order_id).await });
        }
    }
    let receipts: Result<Vec<Receipt>, LockError> = clicks.join_all().await.into_iter().collect();
    let charged = |receipt: &&Receipt| **receipt == Receipt::Charged;
    let receipts = receipts?.iter().filter(charged).count();
    assert_eq!(receipts, payments.charges.load(Ordering::SeqCst));
    Ok(payments)
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    println!("{} orders, {CLICKS} clicks each.", ORDERS.len());

    let payments = impatient_customers().await?;
    let charges = payments.charges.load(Ordering::SeqCst);
    let too_many = charges - ORDERS.len();
    println!("Without a lock manager: {charges} charges, {too_many} too many.");
    assert!(too_many > 0, "clicks that overlap all charge the card");

    // A service sets its manager first thing in `main`; this one wanted to show the difference.
    set_lock_manager_late(LockManager::memory())?;

    let payments = impatient_customers().await?;
    let charges = payments.charges.load(Ordering::SeqCst);
    let at_once = payments.most_at_the_gateway.load(Ordering::SeqCst);
    let too_many = charges - ORDERS.len();
    println!(
        "With a lock manager:    {charges} charges, {too_many} too many, {at_once} orders at once."
    );
    assert_eq!(too_many, 0);
    assert!(at_once > 1, "two orders do not wait for each other");
    Ok(())
}

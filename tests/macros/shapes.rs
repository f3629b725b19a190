//! Receivers, and where a function stands.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use lock_runtime::locked;

use crate::{R, name_of, on_memory, on_memory_sync};

struct Board {
    id: u64,
}

impl Board {
    #[locked("board:{self.id}", guard = held)]
    async fn by_ref(&self) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_mut(&mut self) -> R<String> {
        self.id += 1;
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_value(self) -> R<String> {
        let Self { id } = self;
        assert_eq!(id, 3);
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_mut_value(mut self) -> R<String> {
        self.id += 1;
        assert_eq!(self.id, 2);
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_arc(self: Arc<Self>) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_box(self: Box<Self>) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_rc(self: Rc<Self>) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    async fn by_pin(mut self: Pin<&mut Self>) -> R<String> {
        self.as_mut().id += 1;
        Ok(name_of(held))
    }

    #[locked("board:{id}", guard = held)]
    async fn associated(id: u64) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("board:{self.id}", guard = held)]
    fn sync(&self) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("board:{self.id}")]
    fn sync_by_mut(&mut self) -> R<&mut u64> {
        if self.id == 0 {
            return Ok(&mut self.id);
        }
        self.id += 1;
        Ok(&mut self.id)
    }

    #[locked("board:{self.id}")]
    async fn lends(&mut self) -> R<&mut u64> {
        Ok(&mut self.id)
    }

    #[locked("board:{self.id}", guard = held)]
    fn sync_by_value(mut self) -> R<(Self, String)> {
        self.id += 1;
        Ok((self, name_of(held)))
    }
}

#[tokio::test]
async fn every_receiver() {
    on_memory(async |_| {
        let mut board = Board { id: 7 };
        assert_eq!(board.by_ref().await.unwrap(), "board:7");
        assert_eq!(board.by_mut().await.unwrap(), "board:7");
        assert_eq!(Pin::new(&mut board).by_pin().await.unwrap(), "board:8");
        *board.lends().await.unwrap() = 3;
        assert_eq!(board.sync().unwrap(), "board:3");
        assert_eq!(board.by_value().await.unwrap(), "board:3");
        assert_eq!(Board { id: 1 }.by_mut_value().await.unwrap(), "board:1");
        assert_eq!(Arc::new(Board { id: 2 }).by_arc().await.unwrap(), "board:2");
        assert_eq!(Rc::new(Board { id: 3 }).by_rc().await.unwrap(), "board:3");
        assert_eq!(Box::new(Board { id: 4 }).by_box().await.unwrap(), "board:4");
        assert_eq!(Board::associated(5).await.unwrap(), "board:5");
    })
    .await;
}

#[test]
fn sync_receivers_outside_of_a_runtime() {
    on_memory_sync(|_| {
        let mut board = Board { id: 7 };
        *board.sync_by_mut().unwrap() += 1;
        assert_eq!(board.sync().unwrap(), "board:9");
        let (board, name) = board.sync_by_value().unwrap();
        assert_eq!((board.id, &*name), (10, "board:9"));
    });
}

#[locked(guard = held)]
async fn named_after_its_path() -> R<String> {
    Ok(name_of(held))
}

#[locked(guard = held)]
fn r#match() -> R<String> {
    Ok(name_of(held))
}

#[tokio::test]
async fn a_free_function_is_named_after_its_path() {
    on_memory(async |_| {
        let name = named_after_its_path().await.unwrap();
        assert_eq!(name, concat!(module_path!(), "::named_after_its_path"));
        assert_eq!(r#match().unwrap(), concat!(module_path!(), "::match"));
    })
    .await;
}

#[tokio::test]
async fn nested_functions() {
    #[locked("nested:{id}", guard = held)]
    async fn inner(id: u8) -> R<String> {
        #[locked("innermost:{id}", guard = held)]
        fn innermost(id: u8) -> R<String> {
            Ok(name_of(held))
        }
        Ok(name_of(held) + " " + &innermost(id)?)
    }
    on_memory(async |_| {
        assert_eq!(inner(1).await.unwrap(), "nested:1 innermost:1");
    })
    .await;
}

#[locked("outer:{id}", guard = outer)]
#[locked("inner:{id}", guard = inner)]
async fn locked_twice(id: u8) -> R<(String, String)> {
    Ok((name_of(outer), name_of(inner)))
}

#[tokio::test]
async fn two_attributes_are_two_locks() {
    on_memory(async |_| {
        let (outer, inner) = locked_twice(1).await.unwrap();
        assert_eq!((&*outer, &*inner), ("outer:1", "inner:1"));
    })
    .await;
}

#[locked("export:{id}", guard = held, on_error = |_| 0)]
extern "C" fn with_abi(id: u8) -> usize {
    name_of(held).len() + usize::from(id)
}

#[tokio::test]
async fn other_abis() {
    on_memory(async |_| assert_eq!(with_abi(1), 9)).await;
}

macro_rules! service {
    ($visibility:vis $name:ident($($parameter:ident: $type:ty),*) -> $output:ty, $lock:literal, $body:block) => {
        #[locked($lock, guard = held)]
        $visibility async fn $name($($parameter: $type),*) -> $output {
            let name = name_of(held);
            let rest: $output = $body;
            Ok(name + &rest?)
        }
    };
}

macro_rules! service_of {
    ($name:ident, $parameter:ident, $body:block) => {
        #[locked("own:{id}:{other}", other = $parameter)]
        fn $name(id: u8, $parameter: u8) -> R<u8> $body
    };
}

service!(pub(crate) made_by_macro(id: u8, kind: &str) -> R<String>, "made:{id}:<kind>", {
    Ok(format!(" {id}{kind}"))
});
service_of!(also_made_by_macro, key, { Ok(key + 1) });

#[tokio::test]
async fn functions_that_macros_make() {
    on_memory(async |_| {
        assert_eq!(made_by_macro(1, "a").await.unwrap(), "made:1:a 1a");
        assert_eq!(also_made_by_macro(1, 2).unwrap(), 3);
    })
    .await;
}

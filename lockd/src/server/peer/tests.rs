use super::*;

fn peer(uid: u32, gid: u32) -> Credentials {
    Credentials { uid, gid, pid: 1 }
}

fn gate(uids: &[u32], gids: &[u32]) -> Rc<Gate> {
    let mut gate = Gate::new(Allowed {
        uids: uids.to_vec(),
        gids: gids.to_vec(),
    });
    gate.own = 1000;
    Rc::new(gate)
}

#[test]
fn our_own_user_and_root_may_connect_and_nobody_else() {
    let gate = gate(&[], &[]);
    assert_eq!(gate.admits_at_once(&peer(1000, 7)), Some(true));
    assert_eq!(gate.admits_at_once(&peer(0, 7)), Some(true));
    assert_eq!(gate.admits_at_once(&peer(1001, 1000)), Some(false));
}

#[test]
fn whom_the_operator_allows_may_connect() {
    let gate = gate(&[1001], &[50]);
    assert_eq!(gate.admits_at_once(&peer(1001, 7)), Some(true));
    assert_eq!(gate.admits_at_once(&peer(1002, 50)), Some(true));
    assert_eq!(
        gate.admits_at_once(&peer(1002, 7)),
        None,
        "its groups decide"
    );
}

#[tokio::test]
async fn groups_are_looked_up_once_and_the_answer_kept() {
    let gate = gate(&[], &[4_200_000]);
    let nobody = peer(4_200_001, 4_200_002);
    assert!(!Rc::clone(&gate).admits_after_look_up(&nobody).await);
    assert_eq!(gate.admits_at_once(&nobody), Some(false));
}

#[tokio::test]
async fn too_many_look_ups_refuse_instead_of_piling_up() {
    let gate = gate(&[], &[0]);
    let all = gate
        .look_ups
        .try_acquire_many(MOST_LOOKED_UP as u32)
        .expect("free");
    assert!(!Rc::clone(&gate).admits_after_look_up(&peer(1, 1)).await);
    drop(all);
    assert_eq!(
        gate.admits_at_once(&peer(1, 1)),
        None,
        "that is not remembered"
    );
}

#[test]
fn root_is_a_member_of_its_own_group() {
    assert!(is_member(0, &[7, 0]).expect("looked up"));
    assert!(!is_member(0, &[4_200_000]).expect("looked up"));
    assert!(
        !is_member(4_200_000, &[0]).expect("looked up"),
        "no account"
    );
}

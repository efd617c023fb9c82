// The example of docs/model.md: one request, completed by the device's interrupt or cancelled,
// whichever is first, and a destroyer that waits until nobody holds the context.
//
// Invariant: exactly one event, the request freed once and not before its last user is gone.
#include "lib/core.hpp"

namespace at::model {

namespace {

enum : unsigned { fixed, check_then_act, free_by_completer, wakes_too_early };

struct Kioctx {
    SpinLock ctx_lock{"ctx_lock"};
    Atomic<int> reqs_active{"reqs_active", 1};
    WaitQueue wait{"wait"};
};

struct Request {
    Atomic<int> claimed{"claimed", 0};
    Refs users{"users", "submit"};
    Var<long> res{"res", 0};
};

struct World {
    Kioctx* ctx;
    Request* req;
    Ledger* ledger;
    Ledger::Request named;
    unsigned variant;
};

bool claim(World& w) {
    if (w.variant == check_then_act) {
        // The check and the act are two steps: another can come between them.
        if (w.req->claimed.read())
            return false;
        w.req->claimed.write(1);
        return true;
    }
    return w.req->claimed.cmpxchg(0, 1) == 0;
}

void put(World& w, const char* holder) {
    if (w.req->users.put(holder))
        destroy(w.req);
}

void finish(World& w, long res) {
    w.req->res.set(res);
    w.ledger->event(w.named, res);
    if (w.variant == wakes_too_early)
        w.ctx->wait.wake_up();
    w.ctx->reqs_active.fetch_add(-1);
    if (w.variant != wakes_too_early)
        w.ctx->wait.wake_up();
    if (w.variant == free_by_completer)
        destroy(w.req);
    else
        put(w, "submit");
}

void build(Setup& setup) {
    auto* const w = create<World>("world");
    w->ctx = create<Kioctx>("ctx");
    w->req = create<Request>("req");
    w->ledger = create<Ledger>("ledger", contract_today);
    w->named = w->ledger->submitted("r0");
    w->variant = setup.variant();
    w->req->users.get("engine");
    w->req->users.get("cancel");

    setup.irq("device", Racer::device, [w] {
        if (claim(*w))
            finish(*w, 0);
        if (w->variant != free_by_completer)
            put(*w, "engine");
    });
    setup.task("canceller", Racer::canceller, [w] {
        if (claim(*w)) {
            w->ledger->cancelled(w->named);
            finish(*w, -125);
        }
        if (w->variant != free_by_completer)
            put(*w, "cancel");
    });
    setup.task("destroyer", Racer::destroyer,
               [w] { w->ctx->wait.wait_until_zero(w->ctx->reqs_active); });
    setup.at_end([w] {
        w->ledger->check();
        outcome("res=%ld", w->ledger->result(w->named));
    });
}

const Register registered({
    .name = "example",
    .about = "one request: interrupt against cancel against destroy",
    .cites = "docs/model.md",
    .variants =
        {
            {"fixed", "claimed by cmpxchg, freed with the last reference", {}},
            {"check-then-act",
             "claimed by a read and a write",
             {{"ledger:r0:double-completion", "both see it unclaimed"},
              {"data-race:req.res", "both write the result", false}}},
            {"free-by-completer",
             "whoever completes frees, the other still looks",
             {{"use-after-free:req", "the loser's cmpxchg on freed memory"}}},
            {"wakes-too-early",
             "the waker wakes before it makes the condition true",
             {{"lost-wakeup:destroyer>wait", "the destroyer looks between the two"}}},
        },
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model

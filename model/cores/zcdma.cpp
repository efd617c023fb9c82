// Today's fs/aio.c with the shipped driver/zcdma.c, both as C that is compiled for the model
// (model/zcdma): one or two requests, cancelled, destroyed, timed out, or their device pulled.
//
// Invariants: each accepted request has exactly one event, with a result that what happened can
// explain; what was moved is what was asked for; no access of the device outlives the mapping;
// the driver's books and the kernel's are empty when all is quiet.
#include "lib/core.hpp"
#include "zcdma/runtime.hpp"
#include "zcdma/symbols.hpp"

#include "aio_model.h"
#include "at_decide.h"
#include "model/kernel_api.h"

#include <cerrno>

namespace at::model {

namespace {

enum class Mode : unsigned { callback, flush, flag, none };
constexpr const char* mode_name[] = {"callback", "flush", "flag", "none"};

enum class Scene : unsigned {
    cancel,  // submitter, canceller, device: small enough to search completely
    destroy, // submitter, destroyer, device
    timeout, // submitter, device, the request's timer
    one,     // a read, cancelled, its context destroyed; and its timer, as in all below
    pair,    // a write of two descriptors behind it
    unbind,  // both, and the driver is unbound
    unplug,  // both, and the card is pulled
};
constexpr unsigned scenes = 7;

constexpr unsigned long request_bytes = 16;
constexpr unsigned ring_size = 16;
constexpr int ecanceled_today = -ECANCELED;

struct World {
    Mode mode;
    Scene scene;
    unsigned requests;
    bool removed; // a racer takes the device away
    // The others come when the last request is about to be mapped: before that there is nothing
    // to cancel, and at random they would nearly always come too early.
    Completion submitting{"submitting"};
    Ledger* ledger;
    Ledger::Request named[c::requests_max];
    at_iocb iocb[c::requests_max];
    unsigned fired = 0; // faults, as AT_BIT(action)
};

World* world;

constexpr const char* request_name[c::requests_max] = {"r0", "r1"};

std::byte pattern(bool device, unsigned i) {
    return static_cast<std::byte>(device ? 0x80 + i % 64 : 1 + i % 64);
}

unsigned long page_offset(unsigned request) {
    // The first lies in one page, the second in two.
    return request == 0 ? c::window_offset : c::page_bytes - request_bytes / 2;
}

// Byte `i` of a request's buffer: the second page lies elsewhere.
std::byte& buffer(unsigned request, unsigned long i) {
    const unsigned long at = page_offset(request) + i;
    return c::user_memory(request)[at < c::page_bytes ? at : at + c::page_bytes];
}
std::byte& on_device(unsigned request, unsigned long i) {
    return c::device_memory()[request * request_bytes + i];
}

void lay_out(World& w) {
    for (unsigned r = 0; r < w.requests; ++r) {
        for (unsigned i = 0; i < request_bytes; ++i) {
            buffer(r, i) = pattern(false, r * request_bytes + i);
            on_device(r, i) = pattern(true, r * request_bytes + i);
        }
        const std::int64_t cookie = (1 << AT_SLOT_BITS) | static_cast<int>(r + 1);
        w.iocb[r] = {.obj = r + 1,
                     .aio_buf = c::user_address(r) + page_offset(r),
                     .aio_nbytes = request_bytes,
                     .aio_offset =
                         (cookie << AT_COOKIE_SHIFT) | static_cast<std::int64_t>(r * request_bytes),
                     .aio_fildes = 0,
                     .write = r == 1,
                     .nowait = r == 1};
    }
}

void submit(unsigned r) {
    if (at_io_submit(&world->iocb[r]) < 0)
        world->ledger->refused(world->named[r]);
}
void cancel(unsigned r) {
    const int answer = at_io_cancel(world->iocb[r].obj);
    if (answer == -EINPROGRESS)
        world->ledger->cancelled(world->named[r]);
    // docs/interfaces.md, section 2; fs/aio.c itself says -EINVAL.
    require(answer == -EINPROGRESS || answer == -EALREADY || answer == -EINVAL, "contract",
            "cancel-answer", "the cancel callback answers neither 0 nor -EALREADY");
}

bool fired(at_action action) {
    return (world->fired & AT_BIT(action)) != 0;
}

// What a result needs to have happened.
bool explained(const World& w, long result) {
    const bool refused_resources = exec->failed_allocations() != 0;
    switch (result) {
    case static_cast<long>(request_bytes):
    case -ETIMEDOUT: // time is the scheduler's
        return true;
    case ecanceled_today:
        return w.mode != Mode::none;
    case -ENODEV: {
        long resets = 0;
        return w.removed || fired(AT_REMOVE) || fired(AT_RESET) ||
               (c::books_find("engine_resets", resets) && resets > 0);
    }
    case -EIO:
        return fired(AT_CORRUPT) || refused_resources;
    case -ENOMEM:
        return fired(AT_FAIL) || refused_resources;
    case -EFAULT:
        return refused_resources;
    case -EAGAIN: // queue fail, or a NOWAIT that would wait
        return true;
    default:
        return result > 0 && result < static_cast<long>(request_bytes) && fired(AT_SHORT);
    }
}

void check_result(const World& w, unsigned r) {
    if (!w.ledger->events(w.named[r]))
        return;
    const long result = w.ledger->result(w.named[r]);
    const std::string name = request_name[r];
    if (!explained(w, result))
        exec->fail("ledger",
                   name + " answers " + std::to_string(result) + ", and nothing explains it",
                   name + ":unexplained-result", Location::current());
    for (long i = 0; i < result; ++i) {
        const auto at = static_cast<unsigned>(i);
        const std::byte is = w.iocb[r].write ? on_device(r, at) : buffer(r, at);
        if (is != pattern(!w.iocb[r].write, r * request_bytes + at))
            exec->fail("data", name + " says that it moved more than it did", name + ":stale-data",
                       Location::current());
    }
}

void check_books(const World& w) {
    static constexpr const char* empty[] = {"live",         "ref_submit",   "ref_engine",
                                            "ref_cancel",   "ref_timeout",  "ref_core",
                                            "pinned_pages", "mapped_descs", "illegal_steps"};
    if (w.scene != Scene::unbind) {
        for (const char* name : empty) {
            long value = 0;
            if (!c::books_find(name, value) || value != 0)
                exec->fail("leak", std::string("the driver's books end with ") + name + " above 0",
                           name, Location::current());
        }
        long unused = 0;
        c::books_find("free_descs", unused);
        if (unused != ring_size)
            exec->fail("leak", "descriptors of the ring are not given back", "free_descs",
                       Location::current());
    }
    if (c::pinned())
        exec->fail("leak", "user pages stay pinned", "pins", Location::current());
    if (c::mapped())
        exec->fail("leak", "user pages stay mapped", "maps", Location::current());
}

void check_memory(const World& w) {
    std::string left = c::unfreed();
    // What outlives every schedule: the process, the device; and the driver, while it is bound.
    static constexpr std::string_view bound[] = {"dev", "e", "dma_alloc_coherent", "8"};
    static constexpr std::string_view open[] = {"filp", "file", "kioctx"};
    const bool closed = w.scene == Scene::destroy || w.scene >= Scene::one;
    for (std::size_t at = 0; at < left.size();) {
        const std::size_t end = std::min(left.find(' ', at), left.size());
        const std::string_view name(left.data() + at, end - at);
        at = end + 1;
        bool expected = name == "mm" || name == "the_device";
        for (const std::string_view one : bound)
            expected |= w.scene != Scene::unbind && name == one;
        for (const std::string_view one : open)
            expected |= !closed && name == one;
        if (!expected)
            exec->fail("leak", std::string(name) + " is never freed", std::string(name),
                       Location::current());
    }
}

void build(Setup& setup) {
    function_at = [](const void* pc) { return c::function_name(pc); };
    auto* const w = create<World>("world");
    world = w;
    w->mode = static_cast<Mode>(setup.variant() / scenes);
    w->scene = static_cast<Scene>(setup.variant() % scenes);
    w->requests = w->scene <= Scene::one ? 1 : 2;
    w->removed = w->scene == Scene::unbind || w->scene == Scene::unplug;
    w->ledger = create<Ledger>("ledger", contract_today);
    c::reset_memory();
    lay_out(*w);
    for (unsigned r = 0; r < w->requests; ++r)
        w->named[r] = w->ledger->submitted(request_name[r]);

    c::timers_fire = w->scene >= Scene::timeout;
    // Each round of zc_halt_engine()'s poll that may end by its bound multiplies what meets it.
    c::waits_that_end = w->mode == Mode::flush && w->scene == Scene::destroy ? 1 : ~0u;
    c::set_parameter("cancel", mode_name[static_cast<unsigned>(w->mode)]);
    c::set_parameter("ring", static_cast<long>(ring_size));
    c::set_parameter("mem_mb", 1L);
    c::set_parameter("timeout_ms", 1L);
    c::set_parameter("stop_ms", 1L);
    c::set_parameter("burst", 2L);
    at_driver_load();
    at_aio_init();
    at_open();

    setup.task("submitter", Racer::submitter, [w] {
        for (unsigned r = 0; r < w->requests; ++r)
            submit(r);
        w->submitting.complete_all();
    });
    if (w->scene == Scene::unbind)
        setup.task("unbind", Racer::canceller, [w] {
            w->submitting.wait();
            at_unbind();
        });
    else if (w->scene == Scene::unplug)
        setup.task("unplug", Racer::canceller, [w] {
            w->submitting.wait();
            at_unplug();
        });
    else if (w->scene != Scene::destroy && w->scene != Scene::timeout)
        setup.task("canceller", Racer::canceller, [w] {
            w->submitting.wait();
            cancel(0);
        });
    if (w->scene == Scene::destroy || w->scene >= Scene::one)
        setup.task("destroyer", Racer::destroyer, [w] {
            w->submitting.wait();
            at_io_destroy();
            at_close();
        });
    setup.at_end([w] {
        w->ledger->check();
        c::books_clear();
        if (w->scene != Scene::unbind)
            at_books("books");
        check_books(*w);
        for (unsigned r = 0; r < w->requests; ++r)
            check_result(*w, r);
        check_memory(*w);
        outcome("r0=%ld/%u r1=%ld/%u", w->ledger->result(w->named[0]),
                w->ledger->events(w->named[0]),
                w->requests > 1 ? w->ledger->result(w->named[1]) : 0,
                w->requests > 1 ? w->ledger->events(w->named[1]) : 0);
    });
}

constexpr std::uint64_t sample = 20'000;
// What is searched completely has no failures; what is sampled may have one allocation failure and
// two faults of the device or the injector in a schedule.
constexpr Limits complete{.steps = 2000, .failed_allocations = 0, .faults = 0};
constexpr Limits sampled{.steps = 4000, .failed_allocations = 1, .faults = 2};

std::vector<Variant> variants() {
    std::vector<Variant> all;
    static constexpr struct {
        const char* suffix;
        const char* about;
        std::uint64_t sampled;
    } scene[scenes] = {
        {"-cancel", "submitter, canceller, device", 0},
        {"-destroy", "submitter, destroyer, device", 0},
        {"-timeout", "submitter, device, the request's timer", 0},
        {"", "a read, cancelled, timed out, its context destroyed", sample},
        {"-pair", "and a write of two pages behind it", sample},
        {"-unbind", "both, the driver unbound, the context destroyed", sample},
        {"-unplug", "both, the card pulled, the context destroyed", sample},
    };
    static std::array<std::string, 4 * scenes> names;
    for (unsigned i = 0; i < names.size(); ++i) {
        names[i] = std::string(mode_name[i / scenes]) + scene[i % scenes].suffix;
        all.push_back({names[i],
                       scene[i % scenes].about,
                       {},
                       scene[i % scenes].sampled,
                       scene[i % scenes].sampled ? sampled : complete});
    }
    return all;
}

const Register registered({
    .name = "zcdma",
    .about = "today's fs/aio.c and the shipped driver/zcdma.c",
    .cites = "fs/aio.c v6.1.192; driver/zcdma.c",
    .variants = variants(),
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model

extern "C" void at_ledger_event(unsigned long long obj, long result, const char* file,
                                unsigned line) {
    using namespace at::model;
    const auto r = static_cast<unsigned>(obj - 1);
    if (r < world->requests && c::is_mapped(r))
        exec->fail("data", std::string(request_name[r]) + " is answered while its buffer is mapped",
                   std::string(request_name[r]) + ":mapped-at-event", Location(file, line));
    if (r < world->requests)
        world->ledger->event(world->named[r], result, Location(file, line));
    else
        exec->fail("ledger", "an event of no request", "unknown-request", Location(file, line));
}

extern "C" void at_reached(unsigned phase, unsigned slot) {
    using namespace at::model;
    if (phase == AT_MAP && slot == world->requests && exec->live())
        world->submitting.complete_all();
}

extern "C" void at_fault_fired(unsigned action) {
    at::model::world->fired |= AT_BIT(action);
}

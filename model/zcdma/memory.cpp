// Memory of the C side: objects, user pages, and the callbacks of gcc's -fsanitize=thread, which
// judge each plain access by happens-before. libtsan is not linked; these take its place.
#include "zcdma/runtime.hpp"

#include "model/kernel_api.h"
#include "zcdma/symbols.hpp"

#include <bit>
#include <cstdarg>
#include <map>
#include <memory>

namespace at::model::c {

namespace {

// Each eight bytes remember their last accesses, as ThreadSanitizer's shadow does: which bytes,
// who, when, and from where.
struct Seen {
    const void* pc;
    Epoch epoch;
    FiberId fiber;
    std::uint8_t bytes; // mask; 0: unused
    Kind kind;
};
constexpr unsigned seen_max = 6;
struct Granule {
    std::uint64_t generation;
    std::uint8_t next;
    Seen seen[seen_max];
};
struct Word {
    std::uint64_t generation;
    Cell* cell;
};

constexpr std::size_t granules = Exec::arena_size() / 8;
constexpr std::size_t words = Exec::arena_size() / 4;
constexpr std::size_t globals = 4096; // granules of what lies outside the arena, by hash

struct Shadow {
    std::unique_ptr<Granule[]> granule{new Granule[granules + globals]()};
    std::unique_ptr<Word[]> word{new Word[words + globals]()};
};
Shadow& shadow() {
    static Shadow one;
    return one;
}

std::size_t hashed(std::uintptr_t key) {
    return (key * 0x9e3779b97f4a7c15ull) >> 52; // globals = 2^12
}

Word& word_at(const volatile void* at) {
    const auto* const address = const_cast<const void*>(at);
    const std::size_t offset = exec->arena_offset(address);
    Word& word = shadow().word[offset < Exec::arena_size()
                                   ? offset / 4
                                   : words + hashed(reinterpret_cast<std::uintptr_t>(at) / 4)];
    if (word.generation != exec->generation())
        word = {exec->generation(), nullptr};
    return word;
}

bool is_write(Kind kind) {
    return (static_cast<unsigned>(kind) & 1) != 0;
}
bool is_marked(Kind kind) {
    return (static_cast<unsigned>(kind) & 2) != 0;
}

// KCSAN's default (KCSAN_ASSUME_PLAIN_WRITES_ATOMIC): an aligned plain write beside a marked read
// is none of its races.
bool tolerated(Kind a, Kind b) {
    return (is_marked(a) && is_marked(b)) || (a == Kind::marked_read && b == Kind::write) ||
           (b == Kind::marked_read && a == Kind::write);
}

void race(const Seen& before, Kind kind, ObjectId owner, Location where) {
    std::string first = Location(before.pc).text();
    std::string second = where.text();
    const std::string object = owner == no_object ? "a global" : exec->object(owner).name;
    const std::string title =
        object + ": " + (is_write(kind) ? "written" : "read") + " by " + exec->self().name +
        " in " + second + ", " + (is_write(before.kind) ? "written" : "read") + " by " +
        exec->fiber(before.fiber).name + " in " + first + ", and nothing orders them";
    if (second < first)
        std::swap(first, second);
    exec->found("data-race", title, object + ":" + first + "/" + second, where);
}

void judge(Granule& granule, std::uint8_t bytes, Kind kind, ObjectId owner, Location where) {
    if (granule.generation != exec->generation()) {
        granule = Granule{};
        granule.generation = exec->generation();
    }
    const Fiber& self = exec->self();
    Seen* slot = nullptr;
    for (Seen& one : granule.seen) {
        if (!one.bytes) {
            if (!slot)
                slot = &one;
            continue;
        }
        if (!(one.bytes & bytes))
            continue;
        const bool mine = one.fiber == self.id;
        const bool before = mine || exec->ordered(one.fiber, one.epoch);
        if (!before && (is_write(kind) || is_write(one.kind)) && !tolerated(kind, one.kind))
            race(one, kind, owner, where);
        // What this access implies need not be remembered any more.
        if (before && (one.bytes & ~bytes) == 0 && (is_write(kind) || (mine && one.kind == kind))) {
            if (slot && slot != &one)
                one.bytes = 0;
            else
                slot = &one;
        }
    }
    if (!slot) {
        slot = &granule.seen[granule.next];
        granule.next = static_cast<std::uint8_t>((granule.next + 1) % seen_max);
    }
    *slot = {where.pc(), self.epoch, self.id, bytes, kind};
}

[[noreturn]] void oops(std::uintptr_t address, Location where) {
    const bool poison = (address >> 24 & 0xffff) == 0x6b6b || (address >> 24 & 0xffff) == 0x5a5a;
    const bool list = address >= 0x100 && address < 0x200;
    const std::string what = poison ? "a pointer read from poisoned memory"
                             : list ? "the link of a list entry that was deleted"
                                    : "a null pointer";
    exec->fail("oops", std::string(exec->self().name) + " follows " + what + " in " + where.text(),
               where.text(), where);
    throw std::runtime_error("oops outside a schedule: " + what);
}

// A loop with no point in it would never end.
unsigned accesses_in_step;
unsigned step_seen;

} // namespace

const char* short_name(const char* text) {
    static std::map<const void*, std::string> kept;
    std::string& name = kept[text];
    if (name.empty()) {
        name = text;
        if (const auto cut = name.find_last_of(">.&*("); cut != name.npos && cut + 1 < name.size())
            name = name.substr(cut + 1);
        while (!name.empty() && name.back() == ')')
            name.pop_back();
    }
    return name.c_str();
}

Cell& cell_at(const volatile void* at, const char* name) {
    Word& word = word_at(at);
    if (!word.cell)
        word.cell = beside<Cell>(const_cast<const void*>(at), short_name(name));
    return *word.cell;
}
bool has_cell(const volatile void* at) {
    return word_at(at).cell != nullptr;
}

void plain_access(const volatile void* at, std::size_t size, Kind kind, Location where) {
    if (!exec || !exec->live()) // constructors of the C side run before there is one
        return;
    const void* const address = const_cast<const void*>(at);
    const auto number = reinterpret_cast<std::uintptr_t>(address);
    const std::size_t offset = exec->arena_offset(address);
    Granule* granule;
    ObjectId owner = no_object;
    if (offset < Exec::arena_size()) [[likely]] {
        owner = exec->owner_of(address);
        exec->touch(owner, "memory", where);
        granule = &shadow().granule[offset / 8];
    } else {
        if (exec->on_stack(address))
            return;
        if (number < 0x10000 || number >> 47)
            oops(number, where);
        granule = &shadow().granule[granules + hashed(number / 8)];
    }
    if (step_seen != exec->steps()) {
        step_seen = exec->steps();
        accesses_in_step = 0;
    } else if (++accesses_in_step > 1'000'000) {
        exec->fail("livelock", std::string(exec->self().name) + " loops in " + where.text(),
                   exec->self().name, where);
    }
    for (std::size_t done = 0; done < size;) {
        const std::size_t first = (number + done) & 7;
        const std::size_t count = std::min<std::size_t>(8 - first, size - done);
        judge(*granule, static_cast<std::uint8_t>(((1u << count) - 1) << first), kind, owner,
              where);
        done += count;
        if (offset < Exec::arena_size())
            ++granule;
        else
            granule = &shadow().granule[granules + hashed((number + done) / 8)];
    }
}

std::string unfreed() {
    std::map<std::string, unsigned> counts;
    for (ObjectId id = 1; id < exec->objects(); ++id)
        if (exec->object(id).scribble && !exec->object(id).freed)
            ++counts[exec->object(id).name];
    std::string text;
    for (const auto& [name, count] : counts)
        text += (text.empty() ? "" : " ") + name;
    return text;
}

} // namespace at::model::c

using namespace at::model;
using c::Kind;

// ------------------------------------------------------------------ the compiler's calls

#define PC Location(__builtin_return_address(0))
#define ACCESSES(bytes)                                                                            \
    void __tsan_read##bytes(void* at) {                                                            \
        c::plain_access(at, bytes, Kind::read, PC);                                                \
    }                                                                                              \
    void __tsan_write##bytes(void* at) {                                                           \
        c::plain_access(at, bytes, Kind::write, PC);                                               \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void* at) {                                                  \
        c::plain_access(at, bytes, Kind::read, PC);                                                \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void* at) {                                                 \
        c::plain_access(at, bytes, Kind::write, PC);                                               \
    }                                                                                              \
    /* READ_ONCE and WRITE_ONCE have announced themselves */                                       \
    void __tsan_volatile_read##bytes(void*) {}                                                     \
    void __tsan_volatile_write##bytes(void*) {}                                                    \
    void __tsan_unaligned_volatile_read##bytes(void*) {}                                           \
    void __tsan_unaligned_volatile_write##bytes(void*) {}

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void* at, std::size_t bytes) {
    c::plain_access(at, bytes, Kind::read, PC);
}
void __tsan_write_range(void* at, std::size_t bytes) {
    c::plain_access(at, bytes, Kind::write, PC);
}

// ------------------------------------------------------------ marked accesses, atomics, barriers
} // extern "C"

namespace {

#define WHERE Location(file, line)

// Relaxed accesses carry no order; with a barrier before the store and one behind the load they do.
struct Fences {
    std::uint64_t generation = 0;
    Clocks stored;  // at the last write barrier
    Clocks pending; // what was read since the last read barrier
};
Fences fences[max_fibers + 1];

Fences& my_fences() {
    Fences& one = fences[exec->self().id];
    if (one.generation != exec->generation())
        one = {exec->generation(), {}, {}};
    return one;
}

void join(Clocks& into, const Clocks& from) {
    into.hb.join(from.hb, exec->lanes());
    into.time = std::max(into.time, from.time);
}

long load(const void* at, std::size_t bytes) {
    if (bytes == 8) {
        long value;
        std::memcpy(&value, at, 8);
        return value;
    }
    int value;
    std::memcpy(&value, at, 4);
    return value;
}
void store(void* at, std::size_t bytes, long value) {
    std::memcpy(at, &value, bytes);
}

// A read-modify-write that returns a value: a full barrier, and a point that all others depend on.
template <class F>
long modify(void* at, std::size_t bytes, const char* name, const char* verb, F next, Location where,
            Location pc) {
    Cell& cell = c::cell_at(at, name);
    exec->point(&cell, Access::write, verb, where);
    const long old = load(at, bytes);
    const long value = next(old);
    store(at, bytes, value);
    if (exec->live()) {
        c::plain_access(at, bytes, Kind::marked_write, pc);
        exec->acquire(cell.release);
        exec->release(cell.release);
        if (value != old)
            exec->wrote(cell);
        exec->saw(cell);
        exec->hash(static_cast<std::uint64_t>(old));
        exec->remark(where, "  %s: %ld, then %ld", cell.name, old, value);
    }
    return old;
}

} // namespace

extern "C" {

void at_marked_read(const volatile void* at, std::size_t bytes, const char* name, AT_WHERE) {
    if (!exec->live())
        return;
    c::plain_access(at, 0, Kind::marked_read, PC);
    if (exec->on_stack(const_cast<const void*>(at)))
        return;
    Cell& cell = c::cell_at(at, name);
    exec->point(&cell, Access::read, "READ_ONCE", WHERE);
    c::plain_access(at, bytes, Kind::marked_read, PC);
    join(my_fences().pending, cell.release);
    exec->saw(cell);
}
void at_marked_write(volatile void* at, std::size_t bytes, const char* name, AT_WHERE) {
    if (!exec->live())
        return;
    c::plain_access(at, 0, Kind::marked_write, PC);
    if (exec->on_stack(const_cast<const void*>(at)))
        return;
    Cell& cell = c::cell_at(at, name);
    exec->point(&cell, Access::write, "WRITE_ONCE", WHERE);
    c::plain_access(at, bytes, Kind::marked_write, PC);
    cell.release = Clocks{}; // a new release sequence
    join(cell.release, my_fences().stored);
}
void at_wrote(volatile void* at) {
    if (exec->live() && !exec->on_stack(const_cast<const void*>(at)))
        exec->wrote(c::cell_at(at, "?"));
}
void at_released(volatile void* at) {
    if (exec->live() && !exec->on_stack(const_cast<const void*>(at)))
        exec->release(c::cell_at(at, "?").release);
}
void at_wmb(void) {
    if (!exec->live())
        return;
    Clocks& stored = my_fences().stored;
    stored = Clocks{};
    exec->release(stored);
}
void at_rmb(void) {
    if (exec->live())
        exec->acquire(my_fences().pending);
}
void at_mb(void) {
    at_wmb();
    at_rmb();
}

// Additions that return nothing commute with each other, and a reader commutes with none of them:
// to the reduction the first are reads, and reads are writes.
long at_atomic_read(const void* at, std::size_t bytes, const char* name, AT_WHERE) {
    Cell& cell = c::cell_at(at, name);
    exec->point(&cell, Access::write, "atomic_read", WHERE);
    const long value = load(at, bytes);
    if (exec->live()) {
        c::plain_access(at, bytes, Kind::marked_read, PC);
        exec->saw(cell);
        exec->hash(static_cast<std::uint64_t>(value));
    }
    return value;
}
long at_atomic_read_acquire(const void* at, std::size_t bytes, const char* name, AT_WHERE) {
    const long value = at_atomic_read(at, bytes, name, file, line);
    if (exec->live())
        exec->acquire(c::cell_at(at, name).release);
    return value;
}
void at_atomic_add(void* at, std::size_t bytes, const char* name, long value, AT_WHERE) {
    Cell& cell = c::cell_at(at, name);
    exec->point(&cell, Access::read, "atomic_add", WHERE);
    store(at, bytes, load(at, bytes) + value);
    if (exec->live()) {
        c::plain_access(at, bytes, Kind::marked_write, PC);
        exec->wrote(cell);
    }
}
// Nobody has looked yet: an initialisation, which nothing can race with but through the pointer.
void at_atomic_set(void* at, std::size_t bytes, const char* name, long value, AT_WHERE) {
    if (exec->live()) {
        if (c::has_cell(at))
            exec->point(&c::cell_at(at, name), Access::write, "atomic_set", WHERE);
        c::plain_access(at, bytes, Kind::marked_write, PC);
        if (c::has_cell(at))
            exec->wrote(c::cell_at(at, name));
    }
    store(at, bytes, value);
}
long at_atomic_fetch_add(void* at, std::size_t bytes, const char* name, long value, AT_WHERE) {
    return modify(
        at, bytes, name, "atomic_fetch_add", [=](long old) { return old + value; }, WHERE, PC);
}
long at_atomic_xchg(void* at, std::size_t bytes, const char* name, long value, AT_WHERE) {
    return modify(
        at, bytes, name, "atomic_xchg", [=](long) { return value; }, WHERE, PC);
}
long at_atomic_cmpxchg(void* at, std::size_t bytes, const char* name, long expected, long desired,
                       AT_WHERE) {
    return modify(
        at, bytes, name, "atomic_cmpxchg",
        [=](long old) { return old == expected ? desired : old; }, WHERE, PC);
}
bool at_test_and_change_bit(long n, void* at, const char* name, int value, AT_WHERE) {
    auto* const word = static_cast<unsigned long*>(at) + n / 64;
    const long bit = 1L << n % 64;
    const long old = modify(
        word, 8, name, value ? "test_and_set_bit" : "test_and_clear_bit",
        [=](long was) { return value ? was | bit : was & ~bit; }, WHERE, PC);
    return (old & bit) != 0;
}

void at_refcount_inc(int* at, const char* name, AT_WHERE) {
    Cell& cell = c::cell_at(at, name);
    exec->point(&cell, Access::read, "refcount_inc", WHERE);
    const int old = *at;
    *at = old + 1;
    if (!exec->live())
        return;
    c::plain_access(at, 4, Kind::marked_write, PC);
    exec->wrote(cell);
    exec->remark(WHERE, "  %s: %d, then %d", cell.name, old, old + 1);
    if (old <= 0)
        exec->fail("reference", std::string(cell.name) + " taken from zero by " + exec->self().name,
                   std::string(cell.name) + ":from-zero", WHERE);
}
bool at_refcount_inc_not_zero(int* at, const char* name, AT_WHERE) {
    return modify(
               at, 4, name, "refcount_inc_not_zero", [](long old) { return old ? old + 1 : 0; },
               WHERE, PC) != 0;
}
bool at_refcount_dec_and_test(int* at, const char* name, AT_WHERE) {
    const long old = modify(
        at, 4, name, "refcount_dec_and_test", [](long was) { return was - 1; }, WHERE, PC);
    if (old <= 0 && exec->live())
        exec->fail("reference",
                   c::short_name(name) + std::string(" dropped below zero by ") + exec->self().name,
                   std::string(c::short_name(name)) + ":below-zero", WHERE);
    return old == 1;
}

// ------------------------------------------------------------------------------- allocation

struct kmem_cache {
    const char* name;
    std::size_t bytes;
};

} // extern "C"

namespace {

constexpr unsigned char poison_inuse = 0x5a;

void* allocate(const char* name, std::size_t bytes, unsigned gfp, int fill, Location where) {
    if (gfp)
        might_sleep(where);
    if (exec->allocation_fails(name, where))
        return nullptr;
    void* const at = exec->allocate(bytes, 64);
    exec->open_object(name, at, bytes, true);
    std::memset(at, fill, bytes);
    return at;
}

void release_object(const void* at, Location where) {
    if (!at)
        return;
    const ObjectId id = exec->owner_of(at);
    if (id == no_object || exec->object(id).begin != at)
        exec->fail("double-free", "freed what was never allocated", "not-an-object", where);
    exec->free_object(id, where);
}

} // namespace

extern "C" {

kmem_cache* at_cache_create(const char* name, std::size_t bytes) {
    return new (exec->allocate(sizeof(kmem_cache), alignof(kmem_cache))) kmem_cache{name, bytes};
}
void at_cache_destroy(kmem_cache* cache, AT_WHERE) {
    for (ObjectId id = 1; id < exec->objects(); ++id)
        if (exec->object(id).name == cache->name && !exec->object(id).freed)
            exec->fail("leak", std::string(cache->name) + " objects remain in their cache",
                       cache->name, WHERE);
}
void* at_cache_alloc(kmem_cache* cache, unsigned gfp, AT_WHERE) {
    return allocate(cache->name, cache->bytes, gfp, poison_inuse, WHERE);
}
void at_cache_free(kmem_cache*, void* at, AT_WHERE) {
    release_object(at, WHERE);
}
void* at_kmalloc(std::size_t bytes, const char* name, unsigned gfp, bool zero, AT_WHERE) {
    return allocate(c::short_name(name), bytes, gfp, zero ? 0 : poison_inuse, WHERE);
}
void at_kfree(const void* at, AT_WHERE) {
    release_object(at, WHERE);
}
bool at_allocation_fails(const char* what, AT_WHERE) {
    return exec->allocation_fails(what, WHERE);
}
void* at_dma_alloc(std::size_t bytes, unsigned long long* bus, unsigned gfp, AT_WHERE) {
    void* const at = allocate("dma_alloc_coherent", bytes, gfp, 0, WHERE);
    *bus = reinterpret_cast<unsigned long long>(at);
    return at;
}

} // extern "C"

// -------------------------------------------------------- the device's memory and user pages

struct page {
    unsigned index;
    long pins;
    unsigned maps;
    bool device_writes;
    bool dirty;
    bool writable;     // pinned with FOLL_WRITE
    PlainBooks engine; // accesses of the device, and the unmapping that must come after them
};

namespace {

constexpr unsigned pages = c::requests_max * c::pages_each;
constexpr std::size_t device_bytes = std::size_t{1} << 20;
// Not contiguous on the bus: every second page of this is nobody's.
alignas(4096) std::byte backing[pages * 2 * c::page_bytes];
alignas(4096) std::byte device[device_bytes];
// Never dereferenced: what the process calls its buffers.
constexpr unsigned long user_base = 0x7f00'0000'0000;

page user_page[pages];
bool device_memory_taken;

std::byte* bytes_of(unsigned index) {
    return backing + std::size_t{2} * index * c::page_bytes;
}
page* page_of(const void* at) {
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(at) - backing);
    if (offset >= sizeof(backing) || (offset / c::page_bytes) % 2)
        return nullptr;
    return &user_page[offset / c::page_bytes / 2];
}

// An access of the engine to a user's page: only while it is mapped, and ordered before its
// unmapping whatever the order in this schedule.
void engine_access(page& page, bool writes, Location where) {
    if (!exec->live())
        return;
    const FiberId other = page.engine.write();
    if (!page.maps)
        exec->fail("data",
                   std::string(exec->self().name) + (writes ? " writes to" : " reads") +
                       " a buffer that is not mapped any more",
                   writes ? "late-write" : "late-read", where);
    if (other != no_fiber)
        exec->fail("data",
                   std::string(exec->self().name) +
                       " accesses a buffer, and nothing orders that "
                       "with " +
                       exec->fiber(other).name,
                   writes ? "late-write" : "late-read", where);
    if (writes && !page.device_writes)
        exec->fail("data", "the device writes to a buffer that was mapped for reading",
                   "wrong-direction", where);
}

bool in_device(const void* at) {
    return static_cast<std::size_t>(static_cast<const std::byte*>(at) - device) < device_bytes;
}

void checked_range(const void* at, std::size_t bytes, bool writes, Location where) {
    if (in_device(at))
        return;
    if (page* const user = page_of(at))
        engine_access(*user, writes, where);
    else
        c::plain_access(at, bytes, writes ? Kind::write : Kind::read, where);
}

} // namespace

namespace at::model::c {

unsigned long user_address(unsigned request) {
    return user_base + std::size_t{request} * pages_each * page_bytes;
}
std::byte* user_memory(unsigned request) {
    return bytes_of(request * pages_each);
}
std::byte* device_memory() {
    return device;
}
void reset_memory() {
    for (unsigned i = 0; i < pages; ++i) {
        user_page[i] = page{};
        user_page[i].index = i;
    }
    device_memory_taken = false;
}
long pinned() {
    long all = 0;
    for (const page& one : user_page)
        all += one.pins;
    return all;
}
bool is_mapped(unsigned request) {
    for (unsigned i = 0; i < pages_each; ++i)
        if (user_page[request * pages_each + i].maps)
            return true;
    return false;
}
long mapped() {
    long all = 0;
    for (const page& one : user_page)
        all += one.maps;
    return all;
}

} // namespace at::model::c

extern "C" {

void* at_vzalloc(std::size_t bytes, const char* name, AT_WHERE) {
    // One large block: the device's memory; what a schedule uses of it is reset by the core.
    if (bytes < device_bytes)
        return at_kmalloc(bytes, name, 0, true, file, line);
    if (bytes > device_bytes || device_memory_taken)
        throw std::length_error("vzalloc: one block of 1 MiB");
    might_sleep(WHERE);
    if (exec->allocation_fails("vzalloc", WHERE))
        return nullptr;
    device_memory_taken = true;
    return device;
}
void at_vfree(const void* at, AT_WHERE) {
    might_sleep(WHERE);
    if (at && at != device)
        at_kfree(at, file, line);
    else if (at)
        device_memory_taken = false;
}

void* at_memset(void* at, int byte, std::size_t bytes) {
    checked_range(at, bytes, true, PC);
    return std::memset(at, byte, bytes);
}
void* at_memcpy(void* to, const void* from, std::size_t bytes) {
    if (!bytes)
        return to;
    checked_range(from, bytes, false, PC);
    checked_range(to, bytes, true, PC);
    return std::memcpy(to, from, bytes);
}

unsigned long long at_page_to_phys(page* page) {
    return reinterpret_cast<unsigned long long>(bytes_of(page->index));
}
int at_pin_user_pages(unsigned long address, int n, unsigned gup_flags, page** into, AT_WHERE) {
    might_sleep(WHERE);
    const unsigned long first = (address - user_base) / c::page_bytes;
    for (int i = 0; i < n; ++i) {
        // A page that is not there: what was pinned before it stays, and is told.
        if (first + static_cast<unsigned>(i) >= pages ||
            exec->allocation_fails("pin_user_pages_fast", WHERE))
            return i ? i : -EFAULT;
        page& one = user_page[first + static_cast<unsigned>(i)];
        ++one.pins;
        one.writable |= (gup_flags & 1u) != 0;
        into[i] = &one;
        c::plain_access(&into[i], sizeof(into[i]), Kind::write, WHERE);
    }
    return n;
}
void at_unpin_user_pages(page** of, unsigned long n, AT_WHERE) {
    for (unsigned long i = 0; i < n; ++i) {
        c::plain_access(&of[i], sizeof(of[i]), Kind::read, WHERE);
        page& one = *of[i];
        if (one.maps)
            exec->fail("data", std::string(exec->self().name) + " unpins a page that is mapped",
                       "unpin-while-mapped", WHERE);
        if (--one.pins < 0)
            exec->fail("reference", "a page is unpinned once too often", "pins:below-zero", WHERE);
    }
}
bool at_page_dirty(page* page) {
    // Write-back may have cleaned it.
    if (c::timers_fire && page->dirty && exec->choose_fault(2, "write-back", PC))
        page->dirty = false;
    return page->dirty;
}
void at_set_page_dirty_lock(page* page, AT_WHERE) {
    might_sleep(WHERE);
    page->dirty = true;
}
void at_page_map(page* page, bool device_writes, AT_WHERE) {
    if (device_writes && !page->writable)
        exec->fail("contract", "a page that the device writes was pinned without FOLL_WRITE",
                   "pin-without-FOLL_WRITE", WHERE);
    ++page->maps;
    page->device_writes = device_writes;
    if (exec->live())
        page->engine.write();
}
void at_page_unmap(page* page, bool device_writes, AT_WHERE) {
    if (page->maps && page->device_writes != device_writes)
        exec->fail("contract", "a page is unmapped in another direction than it was mapped",
                   "unmap-direction", WHERE);
    if (!page->maps)
        exec->fail("contract", "a page is unmapped that is not mapped", "unmap-not-mapped", WHERE);
    --page->maps;
    if (!exec->live())
        return;
    if (const FiberId other = page->engine.write(); other != no_fiber)
        exec->fail("data",
                   std::string("a buffer is unmapped by ") + exec->self().name +
                       ", and nothing orders the access of " + exec->fiber(other).name +
                       " before that",
                   page->device_writes ? "late-write" : "late-read", WHERE);
}

} // extern "C"

// ------------------------------------------------------------ debugfs, module parameters

namespace {

constexpr unsigned book_lines = 64;
c::BookLine book[book_lines];
unsigned book_used;
char partial[64];

struct Parameter {
    void* variable;
    std::string type;
};
std::map<std::string, Parameter, std::less<>>& parameters() {
    static std::map<std::string, Parameter, std::less<>> all;
    return all;
}

} // namespace

namespace at::model::c {

void books_clear() {
    book_used = 0;
}
bool books_find(std::string_view name, long& value) {
    for (unsigned i = 0; i < book_used; ++i)
        if (name == book[i].name) {
            value = book[i].value;
            return true;
        }
    return false;
}
bool set_parameter(const char* name, long value) {
    const auto found = parameters().find(name);
    if (found == parameters().end())
        return false;
    if (found->second.type == "bool")
        *static_cast<bool*>(found->second.variable) = value != 0;
    else
        *static_cast<int*>(found->second.variable) = static_cast<int>(value);
    return true;
}
bool set_parameter(const char* name, const char* value) {
    const auto found = parameters().find(name);
    if (found == parameters().end() || found->second.type != "charp")
        return false;
    *static_cast<const char**>(found->second.variable) = value;
    return true;
}

} // namespace at::model::c

extern "C" {

void at_books_printf(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(partial, sizeof(partial), format, arguments);
    va_end(arguments);
    if (book_used == book_lines)
        return;
    c::BookLine& line = book[book_used];
    if (std::sscanf(partial, "%31s %ld", line.name, &line.value) == 2)
        ++book_used;
}
void at_module_param(const char* name, void* variable, const char* type) {
    parameters()[name] = {variable, type};
}

} // extern "C"

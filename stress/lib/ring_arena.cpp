#include "lib/ring_arena.h"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include <sys/mman.h>

namespace at {

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t largest_arena = std::size_t{1} << 40;
constexpr std::size_t smallest_arena = std::size_t{1} << 30;

} // namespace

bool RingArena::reserve(std::string& why) {
    void* arena = MAP_FAILED;
    std::size_t bytes = largest_arena;
    // Sanitizers leave less of the address space.
    while ((arena = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                         0)) == MAP_FAILED &&
           bytes > smallest_arena)
        bytes /= 2;
    if (arena == MAP_FAILED) {
        why = std::string("mmap of the ring arena: ") + std::strerror(errno);
        return false;
    }
    munmap(arena, bytes);
    next_.store(reinterpret_cast<std::uintptr_t>(arena), std::memory_order_relaxed);
    // The upper half stays the kernel's, whose search for free addresses begins at the top.
    end_ = reinterpret_cast<std::uintptr_t>(arena) + bytes / 2;
    return true;
}

bool RingArena::place(io_context_t& id, std::string& why) {
    const auto* ring = reinterpret_cast<const AioRing*>(id);
    if (ring->magic != aio_ring_magic)
        return true; // not a ring as we know it: it stays where it is
    const std::size_t bytes =
        (sizeof(AioRing) + ring->nr * sizeof(io_event) + page_bytes - 1) / page_bytes * page_bytes;
    const std::uintptr_t to = next_.fetch_add(bytes + page_bytes, std::memory_order_relaxed);
    if (to + bytes > end_) {
        why = "no address is left that no ring had before";
        return false;
    }
    void* moved =
        mremap(id, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void*>(to));
    if (moved == MAP_FAILED) {
        why = std::string("mremap of an aio ring: ") + std::strerror(errno);
        return false;
    }
    id = static_cast<io_context_t>(moved);
    return true;
}

int move_inherited_ring(io_context_t id) {
    void* to = mmap(nullptr, page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (to == MAP_FAILED)
        return -errno;
    void* moved = mremap(id, page_bytes, page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    return moved == MAP_FAILED ? -errno : 0;
}

} // namespace at

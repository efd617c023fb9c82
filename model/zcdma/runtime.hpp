// What kernel.cpp, memory.cpp and the core share: the C side's memory as the scheduler sees it.
#pragma once

#include "lib/core.hpp"

namespace at::model::c {

// Names come from macro text: "&(&dev->lock)" is "lock", "sizeof(*dev)" is "dev". Kept for ever.
const char* short_name(const char* text);

// Places the scheduler's side of a kernel object beside it, so that poison never reaches it, and
// lets it belong to the same object: a use of it after the free is found.
template <class T, class... A> T* beside(const void* kernel_object, A&&... arguments) {
    T* const made = new (exec->allocate(sizeof(T), alignof(T))) T(std::forward<A>(arguments)...);
    made->Cell::owner = exec->owner_of(kernel_object);
    return made;
}

// The cell of an atomic or a marked word: made at its first access.
Cell& cell_at(const volatile void* at, const char* name);
bool has_cell(const volatile void* at);

// One access of C code, for the happens-before and use-after-free oracles.
enum class Kind : std::uint8_t { read = 0, write = 1, marked_read = 2, marked_write = 3 };
void plain_access(const volatile void* at, std::size_t bytes, Kind kind, Location where);

// Objects that C code allocated and did not free, by name, joined by blanks.
std::string unfreed();

// User memory: `pages` pages for request `request`, one after the other from address().
inline constexpr unsigned requests_max = 2;
inline constexpr unsigned pages_each = 2;
inline constexpr unsigned page_bytes = 4096;
unsigned long user_address(unsigned request);
std::byte* user_memory(unsigned request);    // pages_each * page_bytes, but see user_window
std::byte* device_memory();                  // of the engine
inline constexpr unsigned window_bytes = 96; // of each memory, around the page boundary
inline constexpr unsigned window_offset = page_bytes - window_bytes / 2;
void reset_memory(); // for a new schedule

// Whether timer_list timers fire at all; a core sets it for each schedule.
extern bool timers_fire;
// How many bounded waits of one fiber may end by their bound; the later ones end only by what they
// wait for, and one that nothing ends is a deadlock.
extern unsigned waits_that_end;

// The kernel's own books of what C code took and must give back.
long pinned();
long mapped();
bool is_mapped(unsigned request);

struct BookLine {
    char name[32];
    long value;
};
void books_clear();
bool books_find(std::string_view name, long& value);
// A module parameter by its name; false when the driver has none.
bool set_parameter(const char* name, long value);
bool set_parameter(const char* name, const char* value);

} // namespace at::model::c

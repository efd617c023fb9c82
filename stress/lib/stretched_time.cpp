#include "lib/stretched_time.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail_injector.h"
#include "lib/system.h"

namespace at {

std::unique_ptr<StretchedTime> StretchedTime::open() {
    const Fd file(::open("/dev/fail_injector", O_RDONLY | O_CLOEXEC));
    if (!file)
        return nullptr;
    at_header header;
    if (pread(file.get(), &header, sizeof header, AT_HEADER_OFFSET) != sizeof header ||
        header.magic != AT_MAGIC || header.version != AT_LAYOUT_VERSION)
        return nullptr;
    const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* page = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.get(),
                      static_cast<off_t>(header.holds_offset));
    if (page == MAP_FAILED)
        return nullptr;
    return std::unique_ptr<StretchedTime>(new StretchedTime(static_cast<std::byte*>(page), bytes));
}

StretchedTime::~StretchedTime() {
    munmap(page_, bytes_);
}

std::uint64_t StretchedTime::ns() const {
    // relaxed: a sum that grows; what it stands for lies milliseconds apart.
    return __atomic_load_n(&reinterpret_cast<const at_holds*>(page_)->stretched_ns,
                           __ATOMIC_RELAXED);
}

} // namespace at

#include "lib/race.h"

#include <string_view>

namespace at {

std::map<std::string_view, const char*>
with_all_shapes(std::map<std::string_view, const char*> defaults) {
    // What the scenario says itself goes first.
    defaults.insert({{"nowait_ratio", "0.03"},
                     {"fsync_ratio", "0.002"},
                     {"poll_ratio", "0.004"},
                     {"bad_ratio", "0.01"},
                     {"private", "0.1"},
                     {"position_ratio", "0.005"},
                     {"lull", "0.02"},
                     {"onlookers", "1"},
                     {"time_to_answer", "1"}});
    return defaults;
}

std::vector<Knob> common_knobs(const std::map<std::string_view, const char*>& defaults) {
    constexpr auto scope = Scope::scenario;
    // clang-format off
    std::vector<Knob> knobs = {
        {"requests", scope, Kind::integer, "12000", "1", "1000000000", {}, "requests", "submit at least so many"},
        {"time", scope, Kind::duration, "10s", "10ms", "3600s", {}, "", "end the race after this, whatever was reached"},
        {"submitters", scope, Kind::integer, "2", "1", "16", {}, "threads", "threads that submit"},
        {"cancellers", scope, Kind::integer, "1", "0", "16", {}, "threads", "threads that cancel requests in flight"},
        {"reapers", scope, Kind::integer, "1", "1", "16", {}, "threads", "threads that reap events"},
        {"destroyers", scope, Kind::integer, "0", "0", "32", {}, "threads", "threads that destroy contexts under load and make new ones"},
        {"contexts", scope, Kind::integer, "2", "1", "64", {}, "kioctxs", "contexts that all roles share"},
        {"depth", scope, Kind::integer, "64", "1", "1024", {}, "requests", "requests that one submitter keeps in flight"},
        {"batch", scope, Kind::integer, "16", "1", "128", {}, "iocbs", "largest number of iocbs in one io_submit"},
        {"min_len", scope, Kind::size, "1", "1", "1M", {}, "bytes", "shortest transfer"},
        {"max_len", scope, Kind::size, "8K", "1", "1M", {}, "bytes", "longest transfer; lengths are drawn evenly over their logarithm"},
        {"vectored", scope, Kind::real, "0.25", "0", "1", {}, "share", "requests that are PREADV or PWRITEV of up to four segments"},
        {"read_ratio", scope, Kind::real, "0.6", "0", "1", {}, "share", "requests that read"},
        {"sync_ratio", scope, Kind::real, "0.01", "0", "1", {}, "share", "requests that are a plain pread or pwrite"},
        {"nowait_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "requests with RWF_NOWAIT, which a full ring answers with EAGAIN"},
        {"fsync_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "requests that are an FSYNC or FDSYNC; as many fsync(2) follow a batch"},
        {"poll_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "requests that are a POLL of the device"},
        {"bad_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "requests whose last segment lies or ends in memory that is not mapped, or not writable"},
        {"private", scope, Kind::real, "0", "0", "1", {}, "share", "slots whose buffer is a private file mapping that nobody has written"},
        {"aligned", scope, Kind::real, "0.25", "0", "1", {}, "share", "segments that begin on a page; of the others of a vector, those that end with one"},
        {"huge", scope, Kind::integer, "0", "0", "1", {}, "", "buffers in huge pages, so that their pages lie together"},
        {"position_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "batches that are followed by a read(2) at the file's position"},
        {"lull", scope, Kind::real, "0", "0", "1", {}, "share", "batches after which nobody submits until the batch is answered"},
        {"onlookers", scope, Kind::integer, "0", "0", "4", {}, "threads", "threads that read the driver's books"},
        {"pollers", scope, Kind::integer, "0", "0", "4", {}, "threads", "threads that wait in poll(2) and epoll_wait(2) for the device, for short times"},
        {"mortals", scope, Kind::integer, "0", "0", "4", {}, "processes", "processes at once that are killed inside calls of the device, and followed by others"},
        {"time_to_answer", scope, Kind::integer, "0", "0", "1", {}, "", "judge how long requests wait"},
        {"cancel_newest", scope, Kind::real, "0.3", "0", "1", {}, "share", "cancels that go for a request submitted just now"},
        {"cancel_oldest", scope, Kind::real, "0.5", "0", "1", {}, "share", "cancels that go for the oldest request in flight; the rest are spread evenly"},
        {"spin_max", scope, Kind::integer, "300", "0", "1000000", {}, "loops", "longest seeded spin between choosing a request and cancelling it"},
        {"aim", scope, Kind::real, "0.25", "0", "1", {}, "share", "racers' calls that are placed in a window of a request (docs/windows.md); 0: none is, blind stress"},
        {"blind", scope, Kind::integer, "0", "0", "1", {}, "", "blind stress: racers at uniformly drawn requests and moments, nobody placed, held or drawn out (docs/windows.md)"},
        {"lives", scope, Kind::integer, "1", "1", "100000", {}, "processes", "processes one after another, each ended in mid-flight at a seeded moment (exit_under_load)"},
        {"life", scope, Kind::duration, "40ms", "1ms", "10s", {}, "", "longest life; lengths are drawn evenly over their logarithm"},
        {"end", scope, Kind::choice, "drawn", "", "", {"drawn", "kill", "exit", "exec"}, "", "how a life ends"},
        {"reload", scope, Kind::integer, "0", "0", "1", {}, "", "unload and load the module again between lives"},
        {"align", scope, Kind::size, "1", "1", "4K", {}, "bytes", "what offsets, lengths and addresses are multiples of"},
        {"direct", scope, Kind::integer, "0", "0", "1", {}, "", "open with O_DIRECT"},
        {"cookie", scope, Kind::integer, "1", "0", "1", {}, "", "the request's name travels in the file offset; files and block devices never see it"},
        {"memory", scope, Kind::size, "0", "0", "16G", {}, "bytes", "bytes that can be read and written; 0: mem_mb"},
        {"bytes", scope, Kind::choice, "stored", "", "", {"stored", "any", "none"}, "", "what a read gives: what was last written, something, or nothing that can be judged"},
        {"cancelled_errno", scope, Kind::integer, "125", "1", "4095", {}, "errno", "what the event of a cancelled request carries"},
        {"may_fail", scope, Kind::choice, "no", "", "", {"no", "EIO"}, "", "an errno that the target is made to answer"},
        {"bounce", scope, Kind::integer, "0", "0", "1", {}, "", "the guest boots with swiotlb=force: DMA goes through bounce buffers"},
        {"stretch", scope, Kind::real, "0", "0", "1", {}, "share", "passages at probed functions and at the device's registers that are drawn out, with window control"},
        {"preempt", scope, Kind::choice, "kernel", "", "", {"kernel", "full"}, "", "full: the kernel is preempted anywhere, where it can be told to (CONFIG_PREEMPT_DYNAMIC)"},
        {"exit_kill", scope, Kind::integer, "0", "0", "1", {}, "", "end the race by a SIGKILL in mid-flight, so that exit_aio destroys the contexts"},
    };
    // clang-format on
    return with_fallbacks(with_site_knobs(std::move(knobs)), defaults);
}

} // namespace at

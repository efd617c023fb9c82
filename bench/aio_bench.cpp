// What io_submit, io_cancel, io_getevents and io_destroy cost on /dev/zcdma0, against the number
// of requests in flight and of threads.  Runs in a guest: AIO_BENCH_DEVICE names another file.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>
#include <libaio.h>
#include <unistd.h>

namespace {

constexpr std::size_t transfer_bytes = 512;

// A context with `depth` reads prepared, and the file they read.
class Requests {
public:
    explicit Requests(std::size_t depth) : buffer_(depth * transfer_bytes), iocbs_(depth) {
        const char* path = std::getenv("AIO_BENCH_DEVICE");
        fd_ = open(path ? path : "/dev/zcdma0", O_RDWR | O_CLOEXEC);
        for (std::size_t i = 0; i < depth; ++i) {
            io_prep_pread(&iocbs_[i], fd_, &buffer_[i * transfer_bytes], transfer_bytes,
                          static_cast<long long>(i * transfer_bytes));
            list_.push_back(&iocbs_[i]);
        }
        events_.resize(depth);
        ready_ = fd_ >= 0 && make_context();
    }
    ~Requests() {
        if (context_)
            io_destroy(context_);
        if (fd_ >= 0)
            close(fd_);
    }
    Requests(const Requests&) = delete;
    Requests& operator=(const Requests&) = delete;

    bool ready() const { return ready_; }
    bool make_context() {
        context_ = nullptr;
        return io_setup(static_cast<int>(list_.size() + 8), &context_) == 0;
    }
    bool submit() {
        std::size_t done = 0;
        while (done < list_.size()) {
            const int taken =
                io_submit(context_, static_cast<long>(list_.size() - done), list_.data() + done);
            if (taken <= 0)
                return false;
            done += static_cast<std::size_t>(taken);
        }
        return true;
    }
    bool reap() {
        std::size_t done = 0;
        while (done < list_.size()) {
            timespec bound{5, 0};
            const int got = io_getevents(context_, 1, static_cast<long>(list_.size() - done),
                                         events_.data(), &bound);
            if (got <= 0)
                return false;
            done += static_cast<std::size_t>(got);
        }
        return true;
    }
    void cancel() {
        io_event ignored;
        for (iocb* request : list_)
            benchmark::DoNotOptimize(io_cancel(context_, request, &ignored));
    }
    bool destroy() {
        const bool destroyed = io_destroy(context_) == 0;
        context_ = nullptr;
        return destroyed;
    }

private:
    int fd_ = -1;
    bool ready_ = false;
    io_context_t context_ = nullptr;
    std::vector<char> buffer_;
    std::vector<iocb> iocbs_;
    std::vector<iocb*> list_;
    std::vector<io_event> events_;
};

template <typename Measured, typename Rest>
void measure(benchmark::State& state, bool submit_first, Measured measured, Rest rest) {
    Requests requests(static_cast<std::size_t>(state.range(0)));
    if (!requests.ready()) {
        state.SkipWithError("no device, or no context");
        return;
    }
    for (auto _ : state) {
        state.PauseTiming();
        bool fine = !submit_first || requests.submit();
        state.ResumeTiming();
        fine = measured(requests) && fine;
        state.PauseTiming();
        if (!rest(requests) || !fine) {
            state.SkipWithError("a call failed");
            break;
        }
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

void submit(benchmark::State& state) {
    measure(
        state, false, [](Requests& r) { return r.submit(); }, [](Requests& r) { return r.reap(); });
}

void reap(benchmark::State& state) {
    measure(
        state, true, [](Requests& r) { return r.reap(); }, [](Requests&) { return true; });
}

void cancel(benchmark::State& state) {
    measure(
        state, true,
        [](Requests& r) {
            r.cancel();
            return true;
        },
        [](Requests& r) { return r.reap(); });
}

// Bound by RCU grace periods, not by the CPU: two for each context.
void destroy(benchmark::State& state) {
    measure(
        state, true, [](Requests& r) { return r.destroy(); },
        [](Requests& r) { return r.make_context(); });
}

// A request's whole way, as the throughput of a driver is measured.
void requests(benchmark::State& state) {
    Requests requests(static_cast<std::size_t>(state.range(0)));
    if (!requests.ready()) {
        state.SkipWithError("no device, or no context");
        return;
    }
    for (auto _ : state)
        if (!requests.submit() || !requests.reap()) {
            state.SkipWithError("a call failed");
            break;
        }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

// A number of iterations that does not depend on the speed: who counts the CPU time of a whole run
// knows for how many requests it was.
constexpr int request_runs = 150;
BENCHMARK(requests)->Arg(1)->Arg(64)->Iterations(request_runs)->UseRealTime();
BENCHMARK(submit)->RangeMultiplier(4)->Range(1, 64)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(reap)->RangeMultiplier(4)->Range(1, 64)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(cancel)->RangeMultiplier(4)->Range(1, 64)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(destroy)->RangeMultiplier(8)->Range(1, 64)->ThreadRange(1, 2)->UseRealTime();

} // namespace

BENCHMARK_MAIN();

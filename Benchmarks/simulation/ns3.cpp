// SPDX-License-Identifier: Apache-2.0
// The load of `tutti-lab bench workload` on the scheduler of ns-3, without its nodes, packets and stacks.
// Build: g++ -O2 -std=c++17 -o ns3-load ns3.cpp -lns3-core (Debian: libns3-dev)
// Run: ns3-load NODES SECONDS SEED
#include <ns3/core-module.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sys/resource.h>
#include <vector>

namespace {

constexpr uint32_t kViewSize = 20;
constexpr uint64_t kPeriod = 1000000;

enum class Kind : uint32_t { timer = 0, ping = 1, pong = 2 };

/// SplitMix64, one stream for the whole run.
class Draws {
  public:
    explicit Draws(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        state_ += UINT64_C(0x9E3779B97F4A7C15);
        uint64_t word = state_;
        word = (word ^ (word >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        word = (word ^ (word >> 27)) * UINT64_C(0x94D049BB133111EB);
        return word ^ (word >> 31);
    }
    uint64_t below(uint64_t bound) { return next() % bound; }

  private:
    uint64_t state_;
};

class Load {
  public:
    Load(uint32_t nodes, uint64_t seed) : draws_(seed), views_(size_t(nodes) * kViewSize) {
        for (auto &entry : views_) entry = uint32_t(draws_.below(nodes));
        for (uint32_t node = 0; node < nodes; ++node)
            ns3::Simulator::Schedule(ns3::MicroSeconds(draws_.below(kPeriod)), &Load::tick, this, node);
    }

    uint64_t events() const { return events_; }
    uint64_t digest() const { return digest_; }

  private:
    uint32_t &drawn(uint32_t node) { return views_[size_t(node) * kViewSize + draws_.below(kViewSize)]; }

    void mix(uint64_t word) { digest_ = (digest_ ^ word) * UINT64_C(0x100000001B3); }

    void record(Kind kind, uint32_t node) {
        ++events_;
        mix(uint64_t(ns3::Simulator::Now().GetMicroSeconds()));
        mix(uint64_t(kind));
        mix(node);
    }

    void send(Kind kind, uint32_t from, uint32_t to, uint32_t item) {
        // The draw that decides about a loss; nothing is lost.
        draws_.next();
        const auto delay = ns3::MicroSeconds(10000 + draws_.below(90000));
        if (kind == Kind::ping)
            ns3::Simulator::Schedule(delay, &Load::pinged, this, to, from);
        else
            ns3::Simulator::Schedule(delay, &Load::ponged, this, to, item);
    }

    void tick(uint32_t node) {
        record(Kind::timer, node);
        const uint32_t target = drawn(node);
        send(Kind::ping, node, target, 0);
        ns3::Simulator::Schedule(ns3::MicroSeconds(kPeriod), &Load::tick, this, node);
    }

    void pinged(uint32_t node, uint32_t from) {
        record(Kind::ping, node);
        drawn(node) = from;
        const uint32_t item = drawn(node);
        send(Kind::pong, node, from, item);
    }

    void ponged(uint32_t node, uint32_t item) {
        record(Kind::pong, node);
        if (item != node) drawn(node) = item;
    }

    Draws draws_;
    std::vector<uint32_t> views_;
    uint64_t events_ = 0;
    uint64_t digest_ = UINT64_C(0xCBF29CE484222325);
};

double processorSeconds() { return double(std::clock()) / CLOCKS_PER_SEC; }

} // namespace

int main(int count, char **arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: ns3-load NODES SECONDS SEED\n");
        return 2;
    }
    const auto nodes = uint32_t(std::strtoul(arguments[1], nullptr, 10));
    const auto seconds = std::strtoull(arguments[2], nullptr, 10);
    Load load(nodes, std::strtoull(arguments[3], nullptr, 10));
    ns3::Simulator::Stop(ns3::MicroSeconds(seconds * kPeriod + 1));
    const double begin = processorSeconds();
    ns3::Simulator::Run();
    const double time = processorSeconds() - begin;
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    std::printf("engine=ns3 events=%" PRIu64 " cpu_s=%.3f events_per_cpu_s=%.0f bytes_per_node=%.0f digest=%016" PRIx64
                "\n",
                load.events(), time, double(load.events()) / time, usage.ru_maxrss * 1024.0 / nodes, load.digest());
    ns3::Simulator::Destroy();
}

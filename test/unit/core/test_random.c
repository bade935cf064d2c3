/*
 * Random faults: power cuts, engine restarts, cut links and moves at random moments. After every
 * step the world checks that at most one tree is writable; after the faults end, somebody leads and
 * everybody is current within a bound.
 *
 *     test_core_random [FIRST LAST]
 */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

static struct world W;
static uint64_t seed_state;

static unsigned
draw(unsigned below)
{
    seed_state ^= seed_state << 13;
    seed_state ^= seed_state >> 7;
    seed_state ^= seed_state << 17;
    return (unsigned)(seed_state % below);
}

static void
fault(void)
{
    unsigned n = draw(W.nodes_count);
    unsigned other = (n + 1 + draw(W.nodes_count - 1)) % W.nodes_count;

    switch (draw(8)) {
    case 0:
        if (W.nodes[n].on) {
            world_power_off(&W, n);
        }
        break;
    case 1:
    case 2:
        if (!W.nodes[n].on) {
            world_power_on(&W, n);
        }
        break;
    case 3:
        if (W.nodes[n].on) {
            world_engine_restart(&W, n);
        }
        break;
    case 4:
        if (W.nodes[n].on && W.nodes[other].on) {
            world_cut(&W, n, other, !W.cut[n][other]);
        }
        break;
    default:
        W.replies_count = 0;
        if (W.nodes[n].on) {
            world_command(&W, n, ZB_CMD_MOVE, other, 1000 + seed_state % 1000);
            W.nodes[n].disk.content += W.nodes[n].running;
        }
        break;
    }
}

static bool
heals(void)
{
    for (unsigned a = 0; a < W.nodes_count; a++) {
        if (!W.nodes[a].on) {
            world_power_on(&W, a);
        }
        for (unsigned b = 0; b < a; b++) {
            if (W.cut[a][b]) {
                world_cut(&W, a, b, false);
            }
        }
    }
    W.replies_count = 0;
    for (int i = 0; i < 30; i++) {
        world_run(&W, 10000);
        for (unsigned n = 0; n < W.nodes_count; n++) {
            if (world_all_current(&W, n)) {
                return true;
            }
        }
        W.replies_count = 0;
    }
    return false;
}

static bool
run(uint64_t seed)
{
    seed_state = seed * 0x9e3779b97f4a7c15ULL + 1;
    world_init(&W, 2 + (unsigned)(seed % 4));
    for (int i = 0; i < 60; i++) {
        world_run(&W, draw(6) == 0 ? 3000 + draw(20000) : draw(120));
        fault();
        W.replies_count = 0;
    }
    if (!heals()) {
        printf("seed %lu: nobody leads with everybody current after the faults ended\n",
               (unsigned long)seed);
        world_print(&W);
        world_close(&W);
        return false;
    }
    world_close(&W);
    return true;
}

int
main(int argc, char **argv)
{
    uint64_t first = argc == 3 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t last = argc == 3 ? strtoull(argv[2], NULL, 10) : 500;
    unsigned failed = 0;

    for (uint64_t seed = first; seed <= last; seed++) {
        failed += !run(seed);
    }
    printf("%lu seeds, %u failed\n", (unsigned long)(last - first + 1), failed);
    return failed != 0;
}

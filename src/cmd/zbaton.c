/*
 * zbaton(8), and zbaton-setup: talks to the zbatond of this host. Two tables, one loop; usage comes
 * from the tables.
 */
#include <getopt.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cli.h"
#include "cmd/memory.h"
#include "etcd/etcd.h"

/* An option's place in both forms; the same letter may mean another thing in another command. */
static const struct option_form {
    enum zb_option_id id;
    char letter;       /* 0: long form only */
    const char *name;  /* NULL: short form only */
    const char *value; /* what to call its value, [VALUE] when it may be left out; NULL: none */
    const char *summary;
} option_forms[] = {
    {ZB_OPT_SCRIPTED, 'H', NULL, NULL, "no header, one tab between fields"},
    {ZB_OPT_EXACT, 'p', NULL, NULL, "exact numbers and times"},
    {ZB_OPT_JSON, 'j', NULL, NULL, "JSON"},
    {ZB_OPT_COLUMNS, 'o', NULL, "COLUMN[,...]", "these columns"},
    {ZB_OPT_DRY_RUN, 'n', NULL, NULL, "only say what would be done"},
    {ZB_OPT_YES, 'y', NULL, NULL, "do not ask"},
    {ZB_OPT_COUNT, 'n', NULL, "COUNT", "this many of the newest"},
    {ZB_OPT_UNHEALTHY, 'x', NULL, NULL, "only what is not as it should be"},
    {ZB_OPT_WATCH, 'w', NULL, "[SECONDS]", "again and again, every 2 s or as given"},
    {ZB_OPT_FOLLOW, 'f', NULL, NULL, "go on with new ones"},
    {ZB_OPT_NO_WAIT, 0, "no-wait", NULL, "return when it has begun"},
    {ZB_OPT_LIFETIME, 0, "lifetime", "TIME", "how long it can be used, as 90s, 30m, 24h, 7d"},
    {ZB_OPT_CLUSTER, 0, "cluster", "NAME", "name of the new cluster"},
    {ZB_OPT_NODE, 0, "node", "NAME", "name of this node"},
    {ZB_OPT_ROOT, 0, "root", "DATASET", "dataset under which services live here"},
    {ZB_OPT_LISTEN, 0, "listen", "ADDRESS:PORT", "where this node listens for its peers"},
    {ZB_OPT_TO, 0, "to", "NODE",
     "the node that takes the lead; else the one that holds the newest set"},
    {ZB_OPT_ALLOW_LOSS, 0, "allow-data-loss", NULL, "accept the loss of what only others hold"},
    {ZB_OPT_FENCED, 0, "fenced", "NODE[,...]",
     "it is off, and stays off until this command has ended"},
    {ZB_OPT_NO_FENCE, 0, "no-fence-command", NULL, "do not run the fence command of zbatond.conf"},
    {ZB_OPT_DISCARD, 0, "discard", NULL, "destroy what is set aside, once it is"},
    {ZB_OPT_ON_NODE, 0, "node", "NODE", "on that node instead of this one"},
    {ZB_OPT_AS_OF_TERM, 0, "as-of-term", "TERM", "only if the service is in that term still"},
    {ZB_OPT_REASON, 'r', NULL, "TEXT", "why; it is shown to whom the freeze stops"},
    {ZB_OPT_AT, 0, "at", "DIRECTORY", "where to show it, an empty directory of this host"},
    {ZB_OPT_LABEL, 0, "label", "TEXT", "what to call the set; it is kept as long as it has one"},
    {ZB_OPT_UNDRILLED, 0, "allow-undrilled", NULL, "to a node whose last drill failed, too"},
    {ZB_OPT_FOR, 0, "for", "TIME", "how long it lasts, as 90s, 30m, 24h, 7d; else 1h"},
    {ZB_OPT_TOKEN, 0, "token", "TOKEN",
     "of this host, while its daemon does not run: with a token of the cluster"},
    {ZB_OPT_LOST, 0, "lost", NULL, "it is not reachable, and gone for ever"},
    {ZB_OPT_SAMPLE, 0, "sample", "N%", "read the content of this share of the files; else 10%"},
    {ZB_OPT_FULL, 0, "full", NULL, "read the content of every file"},
    {ZB_OPT_NODES, 0, "nodes", "NODE,NODE[,...]", "only on these members"},
    {ZB_OPT_TIMEOUT, 0, "timeout", "TIME", "give up after that, as 90s, 30m, 24h, 7d; else 12h"},
    {ZB_OPT_RECOVER, 0, "recover", NULL,
     "go on from the copies that an earlier cluster left here, when its other hosts are gone"},
    {ZB_OPT_WITHOUT_STATE, 0, "without-state", NULL,
     "although what the earlier cluster left in the state directory cannot be read"},
    {ZB_OPT_OUT, 0, "out", "DIRECTORY", "where the files go; one that is not there is made"},
    {ZB_OPT_KEY_FILE, 0, "key-file", "FILE", "root consents to the key that this file holds"},
    {ZB_OPT_KEY_COMMAND, 0, "key-command", "COMMAND", "... or to the one that this program gives"},
    {ZB_OPT_ADDRESS, 0, "address", "ADDRESS:PORT", "where the others reach this node"},
};
#define FORMS_COUNT (sizeof option_forms / sizeof option_forms[0])

#define BIT(name) ZB_OPT_BIT(ZB_OPT_##name)
#define TABLE (BIT(SCRIPTED) | BIT(EXACT) | BIT(JSON) | BIT(COLUMNS))
#define SETUP (BIT(NODE) | BIT(ROOT) | BIT(LISTEN))

static const struct zb_cli_command commands[] = {
    {"init", "", "make this host the first node of a new cluster",
     SETUP | BIT(CLUSTER) | BIT(ADDRESS) | BIT(RECOVER) | BIT(WITHOUT_STATE) | BIT(FENCED) |
         BIT(DRY_RUN) | BIT(YES),
     SETUP | BIT(CLUSTER), 0, 0, zb_run_init},
    {"join", "TOKEN", "make this host a node of an existing cluster",
     SETUP | BIT(ADDRESS) | BIT(LOST), SETUP, 1, 1, zb_run_join},
    {"token create", "", "new token with which one host can join",
     BIT(SCRIPTED) | BIT(JSON) | BIT(LIFETIME), 0, 0, 0, zb_run_token_create},
    {"token list", "", "tokens and who used them", TABLE, 0, 0, 0, zb_run_token_list},
    {"token revoke", "ID", "make a token useless", BIT(JSON), 0, 1, 1, zb_run_token_revoke},
    {"node list", "", "nodes of the cluster", TABLE, 0, 0, 0, zb_run_node_list},
    {"node remove", "NODE", "take a node out of the cluster, and its certificate from it",
     BIT(YES) | BIT(JSON) | BIT(LOST), 0, 1, 1, zb_run_node_remove},
    {"cert renew", "[NODE]", "a new certificate for a node", BIT(JSON) | BIT(TOKEN) | BIT(ADDRESS),
     0, 0, 1, zb_run_cert_renew},
    {"pki etcd", "NAME=ADDRESS...", "keys and certificates for an etcd cluster and its clients",
     BIT(OUT), BIT(OUT), 1, ZB_ETCD_ENDPOINTS_MAX, zb_run_pki_etcd},
    {"apply", "FILE", "put a services file in force (- reads standard input)",
     BIT(DRY_RUN) | BIT(YES) | BIT(JSON), 0, 1, 1, zb_run_apply},
    {"config show", "", "the services file in force", BIT(JSON), 0, 0, 0, zb_run_config_show},
    {"config check", "FILE", "compare a services file with the one in force, change nothing",
     BIT(JSON), 0, 1, 1, zb_run_config_check},
    {"status", "[SERVICE...]", "who leads, who follows, how far behind",
     TABLE | BIT(UNHEALTHY) | BIT(WATCH), 0, 0, ZB_SERVICES_MAX, zb_run_status},
    {"transfers", "[SERVICE]", "what is being sent, how fast, and how long it takes",
     TABLE | BIT(WATCH), 0, 0, 1, zb_run_transfers},
    {"explain", "SERVICE [NODE]", "what is in the way, and what helps", BIT(JSON), 0, 1, 2,
     zb_run_explain},
    {"move", "SERVICE NODE", "pass the lead to another node; nothing is lost",
     BIT(DRY_RUN) | BIT(YES) | BIT(NO_WAIT) | BIT(JSON) | BIT(UNDRILLED), 0, 2, 2, zb_run_move},
    {"start", "SERVICE", "start a service again that failed", BIT(JSON), 0, 1, 1, zb_run_start},
    {"drain", "NODE", "a node shall lead nothing: what it leads is moved away",
     BIT(DRY_RUN) | BIT(JSON), 0, 1, 1, zb_run_drain},
    {"undrain", "NODE", "the end of a drain", BIT(JSON), 0, 1, 1, zb_run_undrain},
    {"failover", "SERVICE", "take the lead away from a node that is lost",
     BIT(DRY_RUN) | BIT(YES) | BIT(JSON) | BIT(TO) | BIT(ALLOW_LOSS) | BIT(FENCED) | BIT(NO_FENCE) |
         BIT(AS_OF_TERM),
     0, 1, 1, zb_run_failover},
    {"revert", "SERVICE SET", "go back to an earlier set; what came after it is set aside",
     BIT(DRY_RUN) | BIT(YES) | BIT(JSON), 0, 2, 2, zb_run_revert},
    {"freeze", "[SERVICE]", "who leads is not changed by any command from now on",
     BIT(REASON) | BIT(JSON), BIT(REASON), 0, 1, zb_run_freeze},
    {"thaw", "[SERVICE]", "the end of a freeze", BIT(JSON), 0, 0, 1, zb_run_thaw},
    {"rejoin", "SERVICE [NODE]", "let a copy that came away follow again; its writes are set aside",
     BIT(DRY_RUN) | BIT(YES) | BIT(JSON) | BIT(DISCARD), 0, 1, 2, zb_run_rejoin},
    {"rescue list", "", "what was set aside on this node", TABLE | BIT(ON_NODE), 0, 0, 0,
     zb_run_rescue_list},
    {"rescue show", "NAME", "what is in a rescue", BIT(EXACT) | BIT(JSON) | BIT(ON_NODE), 0, 1, 1,
     zb_run_rescue_show},
    {"rescue mount", "NAME", "mount a rescue read-only", BIT(JSON), 0, 1, 1, zb_run_rescue_mount},
    {"rescue umount", "NAME", "unmount it", BIT(JSON), 0, 1, 1, zb_run_rescue_umount},
    {"rescue diff", "NAME", "files that only a rescue has, or has otherwise", BIT(JSON), 0, 1, 1,
     zb_run_rescue_diff},
    {"rescue export", "NAME FILE", "a rescue as a tar archive (- writes standard output)", 0, 0, 2,
     2, zb_run_rescue_export},
    {"rescue drop", "NAME", "destroy a rescue", BIT(YES) | BIT(JSON), 0, 1, 1, zb_run_rescue_drop},
    {"drill", "SERVICE", "prove that the copy of this node could be led", BIT(JSON) | BIT(ON_NODE),
     0, 1, 1, zb_run_drill},
    {"peek list", "", "sets that are being looked into on this node", TABLE | BIT(ON_NODE), 0, 0, 0,
     zb_run_peek_list},
    {"peek end", "NAME", "the end of a peek", BIT(JSON) | BIT(ON_NODE), 0, 1, 1, zb_run_peek_end},
    {"peek", "SERVICE [SET]", "look into a set of this node, read-only, for some time",
     BIT(JSON) | BIT(ON_NODE) | BIT(AT) | BIT(FOR), 0, 1, 2, zb_run_peek},
    {"verify", "SERVICE [SET]", "compare the files of a set on the members that hold it",
     BIT(JSON) | BIT(SAMPLE) | BIT(FULL) | BIT(NODES) | BIT(TIMEOUT), 0, 1, 2, zb_run_verify},
    {"snapshot", "SERVICE", "take one set now", BIT(JSON) | BIT(LABEL), 0, 1, 1, zb_run_snapshot},
    {"sync", "SERVICE", "take one set and wait until the followers have it", BIT(JSON), 0, 1, 1,
     zb_run_sync},
    {"label", "SERVICE SET TEXT", "keep a set under a name", BIT(JSON), 0, 3, 3, zb_run_label},
    {"unlabel", "SERVICE SET", "let retention have a set again", BIT(JSON), 0, 2, 2,
     zb_run_unlabel},
    {"rekey", "SERVICE", "give an encrypted service the key that key-file or key-command has now",
     BIT(JSON) | BIT(KEY_FILE) | BIT(KEY_COMMAND), 0, 1, 1, zb_run_rekey},
    {"prune", "SERVICE", "destroy sets that need not be kept, now; -n: which stay, and why",
     BIT(DRY_RUN) | TABLE | BIT(ON_NODE), 0, 1, 1, zb_run_prune},
    {"history", "SERVICE", "terms and sets: who led when, from where, why",
     BIT(SCRIPTED) | BIT(EXACT) | BIT(JSON) | BIT(COUNT), 0, 1, 1, zb_run_history},
    {"events", "[SERVICE]", "what happened",
     BIT(SCRIPTED) | BIT(EXACT) | BIT(JSON) | BIT(COUNT) | BIT(FOLLOW), 0, 0, 1, zb_run_events},
    {"version", "", "version of this program and of the daemon", BIT(JSON), 0, 0, 0,
     zb_run_version},
};
#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])

static void
usage(FILE *out)
{
    fputs("usage: zbaton [-f FILE] [-s SOCKET] COMMAND [OPTION...] [OPERAND...]\n\n", out);
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        char left[48];
        snprintf(left, sizeof left, "%s %s", commands[i].name, commands[i].operands);
        fprintf(out, "  %-24s %s\n", left, commands[i].summary);
    }
    fputs("\nzbaton COMMAND -h tells the options of a command; zbaton(8) all of it.\n", out);
}

static void
usage_command(FILE *out, const struct zb_cli_command *command)
{
    fprintf(out, "usage: zbaton %s%s%s%s\n", command->name,
            command->options == 0 ? "" : " [OPTION...]", command->operands[0] == '\0' ? "" : " ",
            command->operands);
    for (size_t i = 0; i < FORMS_COUNT; i++) {
        const struct option_form *form = &option_forms[i];
        char left[48];
        if ((command->options & ZB_OPT_BIT(form->id)) == 0) {
            continue;
        }
        if (form->letter != 0) {
            snprintf(left, sizeof left, "-%c %s", form->letter,
                     form->value == NULL ? "" : form->value);
        } else {
            snprintf(left, sizeof left, "--%s %s", form->name,
                     form->value == NULL ? "" : form->value);
        }
        fprintf(out, "  %-24s %s%s\n", left, form->summary,
                command->required & ZB_OPT_BIT(form->id) ? " (required)" : "");
    }
}

/* "token create" is two words of argv. *words is how many it took. */
static const struct zb_cli_command *
command_find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const char *name = commands[i].name;
        const char *space = strchr(name, ' ');
        if (space == NULL && argc >= 1 && strcmp(name, argv[0]) == 0) {
            *words = 1;
            return &commands[i];
        }
        if (space != NULL && argc >= 2 && strlen(argv[0]) == (size_t)(space - name) &&
            strncmp(name, argv[0], (size_t)(space - name)) == 0 &&
            strcmp(space + 1, argv[1]) == 0) {
            *words = 2;
            return &commands[i];
        }
    }
    return NULL;
}

/* The form of a command's option, by letter (long options return 256 + index). */
static const struct option_form *
form_find(const struct zb_cli_command *command, int c)
{
    for (size_t i = 0; i < FORMS_COUNT; i++) {
        const struct option_form *form = &option_forms[i];
        if ((command->options & ZB_OPT_BIT(form->id)) != 0 &&
            (c == 256 + (int)i || (form->letter != 0 && form->letter == c))) {
            return form;
        }
    }
    return NULL;
}

static bool
value_optional(const struct option_form *form)
{
    return form->value != NULL && form->value[0] == '[';
}

/* What getopt_long wants to know about this command. */
static void
forms_collect(const struct zb_cli_command *command, char *letters, struct option *longs)
{
    *letters++ = 'h';
    for (size_t i = 0; i < FORMS_COUNT; i++) {
        const struct option_form *form = &option_forms[i];
        if ((command->options & ZB_OPT_BIT(form->id)) == 0) {
            continue;
        }
        if (form->letter != 0) {
            *letters++ = form->letter;
            if (form->value != NULL) {
                *letters++ = ':';
            }
            if (value_optional(form)) {
                *letters++ = ':';
            }
        }
        if (form->name != NULL) {
            *longs++ =
                (struct option){form->name, form->value == NULL ? no_argument : required_argument,
                                NULL, 256 + (int)i};
        }
    }
    *letters = '\0';
    *longs = (struct option){0};
}

static int
usage_error(const struct zb_cli_command *command, const char *what, const char *which)
{
    fprintf(stderr, "zbaton %s: %s%s\n", command->name, what, which);
    usage_command(stderr, command);
    return zb_rc_exit(ZB_E_USAGE);
}

/* Options and operands of the command into *cli. False: *exit_code is what to end with. */
static bool
operands_parse(struct zb_cli *cli, int argc, char **argv, int *exit_code)
{
    char letters[3 * FORMS_COUNT + 2];
    struct option longs[FORMS_COUNT + 1];
    int c;

    forms_collect(cli->command, letters, longs);
    optind = 0; /* getopt(3): start anew, options may follow operands here */
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const struct option_form *form = form_find(cli->command, c);
        if (form == NULL) {
            usage_command(c == 'h' ? stdout : stderr, cli->command);
            *exit_code = c == 'h' ? 0 : zb_rc_exit(ZB_E_USAGE);
            return false;
        }
        if (value_optional(form) && optarg == NULL && optind < argc &&
            strspn(argv[optind], "0123456789") == strlen(argv[optind])) {
            optarg = argv[optind++]; /* "-w 5" as well as "-w5" */
        }
        cli->values[form->id] = optarg == NULL ? "" : optarg;
    }
    for (size_t i = 0; i < FORMS_COUNT; i++) {
        const struct option_form *form = &option_forms[i];
        if ((cli->command->required & ZB_OPT_BIT(form->id)) != 0 && cli->values[form->id] == NULL) {
            char letter[] = {'-', form->letter, '\0'};
            *exit_code = usage_error(cli->command, form->name == NULL ? "missing " : "missing --",
                                     form->name == NULL ? letter : form->name);
            return false;
        }
    }
    cli->operands = argv + optind;
    cli->operands_count = argc - optind;
    if (cli->operands_count < cli->command->operands_min ||
        cli->operands_count > cli->command->operands_max) {
        *exit_code =
            usage_error(cli->command,
                        cli->operands_count < cli->command->operands_min ? "operand missing"
                                                                         : "too many operands",
                        "");
        return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    struct zb_cli cli = {.argv = argv, .conf_path = ZB_CONF_PATH};
    int c, words = 0, exit_code = 0;

    zb_log_init("zbaton", ZB_LOG_WARNING);
    zb_cmd_memory_use();
    while ((c = getopt(argc, argv, "+f:s:h")) != -1) {
        switch (c) {
        case 'f':
            cli.conf_path = optarg;
            cli.conf_given = true;
            break;
        case 's':
            cli.socket = optarg;
            break;
        default:
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : zb_rc_exit(ZB_E_USAGE);
        }
    }
    cli.command = command_find(argc - optind, argv + optind, &words);
    if (cli.command == NULL) {
        if (optind < argc) {
            fprintf(stderr, "zbaton: no command '%s'\n", argv[optind]);
        }
        usage(stderr);
        return zb_rc_exit(ZB_E_USAGE);
    }
    int first = optind + words - 1; /* getopt skips argv[0] of what it is given */
    if (!operands_parse(&cli, argc - first, argv + first, &exit_code)) {
        return exit_code;
    }
    cli.show = (struct zb_show){.out = stdout,
                                .scripted = zb_cli_has(&cli, ZB_OPT_SCRIPTED),
                                .exact = zb_cli_has(&cli, ZB_OPT_EXACT),
                                .terminal = isatty(STDOUT_FILENO) == 1,
                                .columns = cli.values[ZB_OPT_COLUMNS]};
    return cli.command->run(&cli);
}

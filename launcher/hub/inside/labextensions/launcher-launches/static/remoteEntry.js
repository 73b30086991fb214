/* The way from JupyterLab and Notebook to the page of one's launches: a tile, an entry of the File menu, a command.
 *
 * A federated extension of JupyterLab 4 as a build would make it, written by hand because it is this small: the
 * container has `init` and `get`, and takes what it needs from the packages that the application shares.
 */
(() => {
  "use strict";
  const command = "launcher:launches";
  let shared = {};

  /** A package of the application; null where it has none, as Notebook may have no tiles. */
  async function load(name) {
    const versions = Object.values(shared[name] ?? {});
    const offered = versions.find((one) => one.loaded) ?? versions[0];
    return offered ? (await offered.get())() : null;
  }

  function activate(packages) {
    const { coreutils, ui } = packages;
    return (app, launcher, menu, palette) => {
      const path = coreutils.PageConfig.getOption("launcherLaunches");
      if (!path) return;
      const icon =
        ui &&
        new ui.LabIcon({
          name: command,
          svgstr:
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">' +
            '<rect width="32" height="32" rx="8" fill="#0b6e79"/><path d="M9 23 L16 7 L23 23 L16 19 Z" fill="#fff"/>' +
            '<circle cx="16" cy="26" r="1.8" fill="#ffc857"/></svg>',
        });
      app.commands.addCommand(command, {
        label: "My launches",
        caption: "Your sessions, repositories and builds on this hub, in a new tab",
        icon: (args) => (args.isPalette || args.isMenu ? undefined : (icon ?? undefined)),
        execute: () => {
          window.open(coreutils.PageConfig.getOption("hubHost") + path, "_blank", "noopener");
        },
      });
      launcher?.add({ command, category: "Other", rank: 100 });
      menu?.fileMenu.addGroup([{ command, args: { isMenu: true } }], 90);
      palette?.addItem({ command, category: "Help", args: { isPalette: true } });
    };
  }

  async function plugin() {
    const [coreutils, ui, tiles, menus, tools] = await Promise.all(
      ["coreutils", "ui-components", "launcher", "mainmenu", "apputils"].map((name) => load(`@jupyterlab/${name}`)),
    );
    return {
      id: "launcher-launches:plugin",
      description: "Leads to the page of one's launches",
      autoStart: true,
      // a place for every argument of `activate`, also where the application has no such package
      optional: [tiles?.ILauncher, menus?.IMainMenu, tools?.ICommandPalette].map((token) => token ?? nobody),
      activate: activate({ coreutils, ui }),
    };
  }

  /** A token that nobody provides. */
  const nobody = { name: "launcher-launches:nobody" };

  (window._JUPYTERLAB ??= {})["launcher-launches"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();

import { HttpClient } from '@angular/common/http';
import { Component, inject } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatToolbarModule } from '@angular/material/toolbar';
import { RouterLink, RouterOutlet } from '@angular/router';

import { BUILD } from './build';

/** Frame of the application: asks for its environment as ZITADEL's Console does. */
@Component({
  selector: 'cnsl-root',
  imports: [MatButtonModule, MatToolbarModule, RouterLink, RouterOutlet],
  template: `
    <mat-toolbar>Console <span id="build">{{ build }}</span> <span id="api">{{ api }}</span></mat-toolbar>
    <a mat-button id="users" routerLink="/users">Users</a>
    <a mat-button id="orgs" routerLink="/orgs">Organizations</a>
    <router-outlet />
  `,
})
export class AppComponent {
  readonly build = BUILD;
  api = '';

  constructor() {
    const http = inject(HttpClient);
    http.get<{ api: string }>('assets/environment.json').subscribe((environment) => (this.api = environment.api));
    http.get<Record<string, string>>('assets/i18n/en.json').subscribe();
  }
}

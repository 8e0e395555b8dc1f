import { Component } from '@angular/core';
import { MatTableModule } from '@angular/material/table';

import { BUILD } from './build';

/** Another lazily loaded view. */
@Component({
  selector: 'cnsl-orgs',
  imports: [MatTableModule],
  template: `<h1 id="lazy-orgs">Organizations of {{ build }}</h1>`,
})
export class OrgsComponent {
  readonly build = BUILD;
}

import { Component } from '@angular/core';
import * as three from 'three';

import { LAZY_BUILD } from './lazy';

/** A lazily loaded view: a chunk of its own. */
@Component({
  selector: 'cnsl-users',
  template: `<h1 id="lazy-users">Users of {{ build }}</h1><p>{{ words }}</p>`,
})
export class UsersComponent {
  readonly build = LAZY_BUILD;
  readonly words = Object.keys(three).length;
}

import { provideHttpClient } from '@angular/common/http';
import { bootstrapApplication } from '@angular/platform-browser';
import { provideAnimations } from '@angular/platform-browser/animations';
import { provideRouter } from '@angular/router';

import { AppComponent } from './app/app.component';
import { HomeComponent } from './app/home.component';

bootstrapApplication(AppComponent, {
  providers: [
    provideHttpClient(),
    provideAnimations(),
    provideRouter([
      { path: '', component: HomeComponent },
      { path: 'users', loadComponent: () => import('./app/users.component').then((m) => m.UsersComponent) },
      { path: 'orgs', loadComponent: () => import('./app/orgs.component').then((m) => m.OrgsComponent) },
    ]),
  ],
}).catch((error: unknown) => {
  document.body.dataset['failed'] = String(error);
});
